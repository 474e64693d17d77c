# SPDX-License-Identifier: MIT
"""A job of a sweep is the command itself in a process of its own, which tells how it ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

_VARIABLE = "MIXMASK_SOLO_JOB"  # the file to write the report to


class Outcome(NamedTuple):
    """What a job tells: its metrics or what went wrong, and the folder of its run."""

    text: str = ""
    directory: str = ""


class Job:
    """This command, started again with a job's arguments."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._folder = TemporaryDirectory()
        self._report = Path(self._folder.name, "report.json")
        # A session of its own: what the terminal sends to all of us comes through us, once.
        self._process = subprocess.Popen(
            [*_this_command(), *arguments],
            env={**os.environ, _VARIABLE: str(self._report)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def send(self, number: int) -> None:
        """Hands a signal on; nothing happens where the job has ended."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int, Outcome]:
        """The exit status as a shell has it, and what the job told."""
        code = self._process.wait()
        told = self._report.read_text() if self._report.exists() else ""
        self._folder.cleanup()
        return (128 - code if code < 0 else code), Outcome(*json.loads(told or "[]"))


@contextmanager
def reporting() -> Iterator[list[Outcome]]:
    """Sends what the body appends to the list, or what ended it, to the sweep, if it is of one."""
    told: list[Outcome] = []
    report = os.environ.pop(_VARIABLE, None)  # not for the processes that this one starts
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
            Path(report).write_text(json.dumps([" ".join(text.split()), directory]))


def _this_command() -> list[str]:
    spec: Any = sys.modules["__main__"].__spec__
    if spec is None:
        return [sys.executable, os.path.abspath(sys.argv[0])]
    return [sys.executable, "-m", spec.name]
