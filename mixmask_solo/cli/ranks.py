# SPDX-License-Identifier: MIT
"""The processes that train together: which one this is, and what becomes of the others."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mixmask_solo.screen import rank

_POLL = 0.5  # seconds
_GRACE = 30.0  # for this process to notice by itself, save what it can and say what happened
_children: list[subprocess.Popen[Any]] = []
_parent = os.getppid()


def orphaned() -> bool:
    """Whether the process that started this one has ended."""
    return os.getppid() != _parent


def watch(die: Callable[[str], None]) -> None:
    """Sees to it that the processes of a training on several devices end together.

    Lightning would kill rank zero, without a word, while it is saving after another rank has ended;
    and nobody tells those that wait in a collective for a rank zero that is gone. Here each has
    time to end by itself, else ``die`` is called in a thread with what happened.
    """
    from lightning.pytorch.strategies.launchers import subprocess_script

    def observe(child_processes: list[subprocess.Popen[Any]]) -> None:
        _children[:] = child_processes
        _follow(_of_children, die)

    if rank() > 0:
        _follow(lambda: "the process that started this one has ended" if orphaned() else "", die)
    else:
        subprocess_script._launch_process_observer = observe


def lost(seconds: float = 2.0) -> str:
    """Which of the other processes ended badly, and how, or nothing; waits a little for news."""
    end = time.monotonic() + seconds
    while not (found := _ended()) and _children and time.monotonic() < end:
        time.sleep(0.05)
    return found


def dismiss(seconds: float = 10.0) -> None:
    """Ends the other processes, giving them some time to do so themselves."""
    end = time.monotonic() + seconds
    for child in _children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(max(0.0, end - time.monotonic()))
    for child in _children:
        child.kill()  # nothing happens where it has ended
        with suppress(subprocess.TimeoutExpired):
            child.wait(5)


def _follow(news: Callable[[], str | None], die: Callable[[str], None]) -> None:
    """Asks for news in a thread until there are bad ones; None says that there will be none."""

    def run() -> None:
        while (what := news()) == "":
            time.sleep(_POLL)
        if what:
            time.sleep(_GRACE)
            dismiss(0)
            die(what)

    threading.Thread(target=run, daemon=True).start()


def _of_children() -> str | None:
    return _ended() or (None if all(child.poll() == 0 for child in _children) else "")


def _ended() -> str:
    for number, child in enumerate(_children, start=1):
        code = child.poll()
        if code:
            how = f"ended with status {code}"
            if code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
            return f"rank {number} (pid {child.pid}) {how}"
    return ""
