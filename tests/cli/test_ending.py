# SPDX-License-Identifier: MIT
"""Runs that do not end well end in one line with the right status."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.utilities import rank_zero_only
from PIL import Image

from mixmask_solo.cli.ending import one_line, supervise
from mixmask_solo.data import source
from mixmask_solo.jobs.variables import AGAIN
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.readback import NonFiniteLoss


def ending(error: BaseException, capsys: pytest.CaptureFixture[str], **kw: Any) -> tuple[Any, str]:
    def run() -> dict[str, Any]:
        raise error

    with pytest.raises(SystemExit) as stop:
        supervise("mixmask-x", run, **kw)
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "again", "code", "line"),
    [
        (
            Interrupted("a b/last.ckpt"),
            "",
            130,
            "mixmask-x: interrupted (SIGINT); saved a b/last.ckpt; to resume: mixmask-x "
            "'name=a  b' '++resume_from_checkpoint=\"a b/last.ckpt\"'\n",
        ),
        (
            Interrupted("a/last.ckpt", signal.SIGTERM),
            "type make",
            143,
            "mixmask-x: interrupted (SIGTERM); saved a/last.ckpt; to resume: type make\n",
        ),
        (
            Interrupted(None, signal.SIGUSR1, saving=False),
            "",
            138,
            "mixmask-x: interrupted (SIGUSR1); nothing was saved: checkpoint.enabled is false\n",
        ),
        (
            Interrupted(None, saved=False),
            "",
            130,
            "mixmask-x: interrupted (SIGINT); nothing was saved: there is no checkpoint yet\n",
        ),
        (
            Interrupted("a/last.ckpt", saved=False),
            "type make",
            130,
            "mixmask-x: interrupted (SIGINT); stopped at once, the newest checkpoint is "
            "a/last.ckpt; to resume: type make\n",
        ),
        (NonFiniteLoss("the loss is nan"), "", 1, "mixmask-x: the loss is nan\n"),
        (KeyboardInterrupt(), "", 130, "mixmask-x: interrupted (SIGINT)\n"),
    ],
)
def test_endings(
    error: BaseException,
    again: str,
    code: int,
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["x.py", "name=a  b", "auto_resume.enabled=true"])
    assert ending(error, capsys, again=again) == (code, line)


def test_whoever_started_the_command_knows_how_to_resume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(AGAIN, "the same mixmask-tables command")
    _, line = ending(Interrupted("a/last.ckpt"), capsys)
    assert line.endswith("; saved a/last.ckpt; to resume: the same mixmask-tables command\n")


def test_other_ranks_tell_only_what_is_theirs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    assert ending(Interrupted("a/last.ckpt"), capsys) == (130, "")
    own = ending(NonFiniteLoss("the loss is nan"), capsys)
    assert own == (1, "mixmask-x (rank 1): the loss is nan\n")


def test_the_trainers_way_of_ending_at_a_second_ctrl_c_keeps_its_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run() -> dict[str, Any]:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    with pytest.raises(SystemExit) as stop, one_line("mixmask-x"):  # as commands nest them
        supervise("mixmask-x", run)
    assert stop.value.code == 130
    assert capsys.readouterr().err == "mixmask-x: interrupted (SIGINT)\n"


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
