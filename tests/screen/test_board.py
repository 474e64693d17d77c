# SPDX-License-Identifier: MIT
"""What is shown where there is no terminal."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest
from lightning.pytorch.utilities import rank_zero_only

from mixmask_solo import screen
from mixmask_solo.screen import board


def test_work_of_some_length_is_told_of_from_a_thread(
    capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "_EVERY", 0.4)
    with screen.task("epoch 1/2", 8) as outer, screen.task("validation", 4) as inner:
        outer.done, inner.done = 8, 1
        deadline = time.monotonic() + 10
        told = ""
        while "\n" not in told and time.monotonic() < deadline:
            time.sleep(0.05)
            told += capsys.readouterr().err
    assert told.startswith("epoch 1/2: validation #####" if not signs() else "epoch 1/2: validat")
    assert "1/4" in told


def signs() -> bool:
    return "utf" in str(sys.stderr.encoding).lower()


def test_short_work_is_not_mentioned_and_a_line_that_stays_is(capsys: Any) -> None:
    with screen.task("work", 2):
        screen.say(["epoch 1/2 in 0:01", "loss 1.0", "x" * 200])
    screen.say(["nobody works"])
    assert capsys.readouterr().err == "epoch 1/2 in 0:01 · loss 1.0\n"


def test_of_several_processes_one_talks(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    monkeypatch.setattr(board, "_EVERY", 0.0)
    with screen.task("work", 2):
        screen.say(["epoch 1/2 in 0:01"])
        time.sleep(0.7)
    assert capsys.readouterr().err == ""


def test_items_pass_through(capsys: Any) -> None:
    assert list(screen.track([1, 2, 3], "items")) == [1, 2, 3]
    assert list(screen.track(iter([1]), "items")) == [1]


def test_a_forked_process_shows_nothing() -> None:
    with screen.task("work"):
        pid = os.fork()
        if not pid:
            os._exit(len(board._board.tasks))
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert len(board._board.tasks) == 1
