# SPDX-License-Identifier: MIT
"""What a run is, and the folder it has to itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.runs.run import Run, new_directory


def make(folder: Path, saves: bool = True, **more: Any) -> Run:
    cfg = OmegaConf.create({"checkpoint": {"enabled": saves}})
    return Run(cfg, {}, "builtin", folder, **more)


def test_one_run_at_a_time_has_a_folder(tmp_path: Path) -> None:
    one, other, rank = make(tmp_path), make(tmp_path), make(tmp_path, writes=False)
    one.lock(tmp_path)
    one.lock(tmp_path)  # has it already
    with pytest.raises(ConfigError, match=rf"is in use by process {os.getpid()} on "):
        other.lock(tmp_path)
    rank.lock(tmp_path)  # another rank of the same run does not write
    one.release()
    other.lock(tmp_path)
    other.release()


def test_the_newest_checkpoint_is_told_where_there_is_one(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.newest is None
    run.last.touch()
    assert run.newest == tmp_path / "last.ckpt"
    assert make(tmp_path, saves=False).newest is None


def test_no_two_runs_are_alike(tmp_path: Path) -> None:
    assert make(tmp_path).id != make(tmp_path).id
    cfg = OmegaConf.create({"name": "a b", "seed": 7})
    one, other = (new_directory(tmp_path, cfg, ["grid_size=4", "lr=0.1"]) for _ in range(2))
    assert one != other
    assert one.name.startswith("a-b-grid_size-4-lr-0.1-seed-7-")


def test_a_long_list_of_overrides_does_not_make_a_name_that_no_disk_takes(tmp_path: Path) -> None:
    told = [f"key{i}={'x' * 30}" for i in range(20)]
    name = new_directory(tmp_path, OmegaConf.create({"name": "a", "seed": 5}), told).name
    assert len(name) < 140
    assert name.startswith("a-key0-xxx")
    assert "-seed-5-" in name
