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
    assert new_directory(tmp_path, "a") != new_directory(tmp_path, "a")
