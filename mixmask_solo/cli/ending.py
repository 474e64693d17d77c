# SPDX-License-Identifier: MIT
"""How a command ends when it does not end well: one line on stderr, and a status."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from mixmask_solo.cli.faults import explain
from mixmask_solo.cli.ranks import orphaned, rank

__all__ = ["Failure", "complain", "fail", "loading", "one_line"]


class Failure(SystemExit):
    """The end of a command that said why; ``code`` is the exit status.

    Args:
        line: what it said.
        status: for the shell.
        directory: the run's folder, where it is known.
    """

    def __init__(self, line: str, status: int, directory: str = "") -> None:
        super().__init__(status)
        self.line = line
        self.directory = directory


def complain(command: str, message: str) -> str:
    """Prints one line on stderr, with the rank where that is not zero; returns the message."""
    line = " ".join(part.strip() for part in message.strip().split("\n"))
    who = f"{command} (rank {rank()})" if rank() else command
    print(f"{who}: {line}", file=sys.stderr, flush=True)
    return line


def fail(command: str, message: str, code: int = 2) -> NoReturn:
    """Prints one line on stderr and exits."""
    raise Failure(complain(command, message), code)


@contextmanager
def one_line(command: str, folder: str | Path | None = None) -> Iterator[None]:
    """Ends the process with one line for what a user or the machine can cause.

    Args:
        command: name shown before the line.
        folder: where the command writes.
    """
    try:
        yield
    except Failure:
        raise
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # the trainer makes status 1 of it
            fail(command, "interrupted (SIGINT)", 130)
        raise
    except BaseException as error:
        fault = explain(error, folder)
        if fault is None:
            raise
        if fault.shared and rank() > 0 and not orphaned():
            raise Failure(fault.line, fault.status) from None
        fail(command, fault.line, fault.status)


@contextmanager
def loading(command: str) -> Iterator[None]:
    """While libraries are imported Ctrl-C ends the process at once.

    They catch what interrupts them and go on half loaded, to fail or crash elsewhere.
    """

    def end(number: int, frame: FrameType | None) -> None:
        try:
            complain(command, "interrupted (SIGINT)")
        finally:
            os._exit(130)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
