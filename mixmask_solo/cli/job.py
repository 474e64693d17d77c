# SPDX-License-Identifier: MIT
"""A job of a sweep is the command itself in a process of its own, which tells how it ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

_VARIABLE = "MIXMASK_SOLO_JOB"  # the descriptor to write the report to
_LONGEST = 4000  # a pipe takes this much without anybody reading


class Outcome(NamedTuple):
    """What a job tells: its metrics or what went wrong, and the folder of its run."""

    text: str = ""
    directory: str = ""


class Job:
    """This command, started again with a job's arguments."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._report, theirs = os.pipe()
        try:
            # A session of its own: what the terminal sends to all of us comes through us, once.
            self._process = subprocess.Popen(
                [*_this_command(), *arguments],
                env={**os.environ, _VARIABLE: str(theirs)},
                pass_fds=[theirs],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(theirs)

    def send(self, number: int) -> None:
        """Hands a signal on; nothing happens where the job has ended."""
        self._process.send_signal(number)

    def wait(self) -> tuple[int, Outcome]:
        """The exit status as a shell has it, and what the job told."""
        code = self._process.wait()
        os.set_blocking(self._report, False)  # a stray process may hold the other end
        try:
            told = os.read(self._report, 1 << 16)
        except BlockingIOError:
            told = b""
        os.close(self._report)
        return (128 - code if code < 0 else code), Outcome(*json.loads(told or b"[]"))


@contextmanager
def reporting() -> Iterator[list[Outcome]]:
    """Sends what the body appends to the list, or what ended it, to the sweep, if it is of one."""
    told: list[Outcome] = []
    descriptor = os.environ.pop(_VARIABLE, None)  # not for the processes that this one starts
    if descriptor is not None:
        os.set_inheritable(int(descriptor), False)
    try:
        yield told
    except SystemExit as stop:
        told.append(Outcome(getattr(stop, "line", ""), getattr(stop, "directory", "")))
        raise
    except Exception as error:
        told.append(Outcome(f"{type(error).__name__}: {error}"))
        raise
    finally:
        if descriptor is not None and told:
            text = " ".join(told[-1].text.split())[:_LONGEST]
            os.write(int(descriptor), json.dumps([text, told[-1].directory]).encode())


def _this_command() -> list[str]:
    spec: Any = sys.modules["__main__"].__spec__
    if spec is None:
        return [sys.executable, os.path.abspath(sys.argv[0])]
    return [sys.executable, "-m", spec.name]
