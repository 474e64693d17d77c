# SPDX-License-Identifier: MIT
"""Runs that do not end well end in one line with the right status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mixmask_solo.cli.supervise import supervise
from mixmask_solo.data import source
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.readback import NonFiniteLoss


def ending(error: Exception, capsys: pytest.CaptureFixture[str], **kw: Any) -> tuple[Any, str]:
    def run() -> dict[str, Any]:
        raise error

    with pytest.raises(SystemExit) as stop:
        supervise("mixmask-x", run, **kw)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "again", "code", "line"),
    [
        (
            Interrupted("a/last.ckpt"),
            "",
            130,
            "mixmask-x: interrupted; saved a/last.ckpt; to resume, repeat the command with "
            "resume_from_checkpoint='a/last.ckpt'\n",
        ),
        (
            Interrupted("a/last.ckpt"),
            "type make",
            130,
            "mixmask-x: interrupted; saved a/last.ckpt; to resume, type make\n",
        ),
        (
            Interrupted(None),
            "",
            130,
            "mixmask-x: interrupted; nothing was saved: checkpoint.enabled is false\n",
        ),
        (NonFiniteLoss("the loss is nan"), "", 1, "mixmask-x: the loss is nan\n"),
    ],
)
def test_endings(
    error: Exception, again: str, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(error, capsys, again=again) == (code, line)


@pytest.mark.parametrize("in_worker", [False, True])
def test_a_damaged_image_is_named_without_the_stack_of_a_worker(
    in_worker: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"\x89PNG not really")
    cfg = {"data": {"dataset": "custom", "train_path": str(tmp_path)}}
    images = source(cfg, "pretrain")
    assert images is not None
    with pytest.raises(ValueError, match=r"b\.png") as error:
        images.image(1)
    raised: Exception = error.value
    if in_worker:
        kind = f"{type(raised).__module__}.{type(raised).__name__}"
        raised = type(raised)(
            "Caught ImageError in DataLoader worker process 0.\nOriginal Traceback (most recent "
            f'call last):\n  File "x.py", line 1, in f\n{kind}: {raised}\n'
        )
    code, err = ending(raised, capsys)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "b.png" in err
    assert "Traceback" not in err
