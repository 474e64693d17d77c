# SPDX-License-Identifier: MIT
"""A command in a process of its own, which tells how it ended."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple

from mixmask_solo.config.files import write_json
from mixmask_solo.jobs.variables import REPORT


class Outcome(NamedTuple):
    """What a job tells: its metrics or what went wrong, and the folder of its run."""

    text: str = ""
    directory: str = ""


class Process:
    """A command that was started."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = TemporaryDirectory()
        self._report = Path(self._folder.name, "report.json")
        # A session of its own: what the terminal sends to all of us comes through us, once.
        self._process = subprocess.Popen(
            command,
            env={**(os.environ if environment is None else environment), REPORT: str(self._report)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def send(self, number: int) -> None:
        """Hands a signal on; nothing happens where the process has ended."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int, Outcome]:
        """The exit status, negative where a signal killed it, and what the command told."""
        code = self._process.wait()
        told = self._report.read_text() if self._report.exists() else ""
        self._folder.cleanup()
        return code, Outcome(*json.loads(told or "[]"))


class Relay:
    """Hands what this process is sent on to the one that it waits for.

    ``signals``: those that are handed on, each with what the other process gets instead.
    """

    def __init__(self, signals: Mapping[signal.Signals, signal.Signals]) -> None:
        self.received = 0  # the last one
        self._signals = signals
        self._process: Process | None = None

    def __enter__(self) -> "Relay":
        self._before = {number: signal.getsignal(number) for number in self._signals}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # nohup's, for one
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, process: Process) -> tuple[int, Outcome]:
        """As the process' own."""
        self._process = process
        if self.received:  # while it was being started
            process.send(self._signals[signal.Signals(self.received)])
        return process.wait()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._process is not None:
            self._process.send(self._signals[signal.Signals(number)])


@contextmanager
def reporting() -> Iterator[list[Outcome]]:
    """Sends what the body appends to the list, or what ended it, to who started this process."""
    told: list[Outcome] = []
    report = os.environ.pop(REPORT, None)  # not for the processes that this one starts
    try:
        yield told
    except SystemExit as stop:
        told.append(Outcome(getattr(stop, "line", ""), getattr(stop, "directory", "")))
        raise
    except Exception as error:
        told.append(Outcome(f"{type(error).__name__}: {error}"))
        raise
    finally:
        if report is not None and told:
            text, directory = told[-1]
            write_json(Path(report), [" ".join(text.split()), directory])


def this_command() -> list[str]:
    """What starts this command again."""
    spec: Any = sys.modules["__main__"].__spec__
    if spec is None:
        return [sys.executable, os.path.abspath(sys.argv[0])]
    return [sys.executable, "-m", spec.name]
