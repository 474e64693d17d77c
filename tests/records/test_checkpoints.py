# SPDX-License-Identifier: MIT
"""Checkpoint files: read to plain values, and in words where that cannot be."""

from __future__ import annotations

import errno
import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import (
    META,
    AtomicCheckpointIO,
    read_checkpoint,
    stored_config,
)

CONTENT: dict[str, Any] = {
    "state_dict": {"w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)},
    "epoch": 4,
    "loops": {"a": [1, 2.5, None, "x", True]},
}


def saved(path: Path, **more: Any) -> Path:
    AtomicCheckpointIO().save_checkpoint({**CONTENT, **more}, path)
    return path


def test_what_is_saved_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.ckpt")
    for found in (
        read_checkpoint(path),
        read_checkpoint(str(path)),
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False),
    ):
        state = found.pop("state_dict")
        assert found == {key: value for key, value in CONTENT.items() if key != "state_dict"}
        assert all(torch.equal(state[name], CONTENT["state_dict"][name]) for name in "wn")


def test_a_file_that_is_not_there_tells_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read_checkpoint(tmp_path / "a.ckpt")
    told = f"checkpoint '{tmp_path / 'a.ckpt'}' does not exist: check the path"
    assert str(error.value) == told
    for name in "fdbec":
        (tmp_path / f"{name}.ckpt").touch()
    (tmp_path / "z.pth").touch()
    with pytest.raises(ConfigError) as error:
        read_checkpoint(tmp_path / "a.ckpt")
    assert str(error.value) == f"{told}; '{tmp_path}' holds b.ckpt, c.ckpt, d.ckpt, e.ckpt"
    with pytest.raises(ConfigError, match="does not exist"):
        read_checkpoint(tmp_path)  # a folder


@pytest.mark.parametrize("content", [{"model": {"w": torch.ones(1)}}, [torch.ones(1)], 3])
def test_a_file_without_a_state_dict_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x\.ckpt' has no 'state_dict': expected a file written"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_the_configuration_in_the_file_goes_before_the_one_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    assert stored_config({}, path) is None
    (tmp_path / "args.json").write_text("{ torn")
    assert stored_config({}, path) is None
    (tmp_path / "args.json").write_text(json.dumps({"seed": 1}))
    assert stored_config({}, path) == {"seed": 1}
    assert stored_config({META: {"config": json.dumps({"seed": 2})}}, path) == {"seed": 2}


def test_a_full_disk_is_told_as_such_and_the_last_file_stays(tmp_path: Path) -> None:
    """A limit of this process on the size of files stands for the disk."""
    path = saved(tmp_path / "last.ckpt")
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"last\.ckpt'$") as error:
            saved(path, more=torch.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert error.value.errno == errno.EFBIG
    assert error.value.filename == str(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]
