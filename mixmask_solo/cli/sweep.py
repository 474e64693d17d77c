# SPDX-License-Identifier: MIT
"""``--multirun``: one job after the other, whatever becomes of each, and a table of them all."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple

from mixmask_solo.cli.expand import Plan
from mixmask_solo.cli.job import Job, Report
from mixmask_solo.cli.table import table

__all__ = ["sweep"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_HEAD = ("job", "overrides", "status", "seconds", "folder", "outcome")


class _Done(NamedTuple):
    code: int
    seconds: float
    report: Report

    @property
    def signal(self) -> int:
        """The signal that stopped the job on purpose, or 0."""
        return self.code - 128 if self.code - 128 in _SIGNALS else 0

    @property
    def status(self) -> str:
        """One word for the table."""
        if self.signal:
            return "interrupted"
        if self.code == 0 and self.report.text:  # without a report it did not get to its end
            return "completed"
        return "refused" if self.code == 2 else "failed"

    @property
    def outcome(self) -> str:
        """What the job told, or why it could not tell."""
        if self.report.text:
            return self.report.text
        if self.code - 128 not in signal.valid_signals():
            return f"ended with status {self.code}, without a word"
        killed = signal.Signals(self.code - 128).name
        return f"{killed}: out of memory?" if killed == "SIGKILL" else killed


def sweep(command: str, plans: Sequence[Plan]) -> int:
    """Runs the jobs and prints the table.

    Args:
        command: name shown before messages.
        plans: the jobs.

    Returns:
        0 where all completed, 2 where each had a wrong configuration, else 1; 128 + signal where
        a signal stopped a job, and with it those that had not been started.
    """
    done: list[_Done] = []
    stopped = 0
    with _Signals() as signals:
        for number, plan in enumerate(plans, start=1):
            what = " ".join(plan.swept)
            print(f"{command}: job {number} of {len(plans)} {what}".rstrip(), file=sys.stderr)
            begun = time.monotonic()
            with signals.going_to(Job(plan.arguments)) as job:
                code, report = job.wait()
            done.append(_Done(code, time.monotonic() - begun, report))
            stopped = signals.received or done[-1].signal
            if stopped:
                break
    statuses = [job.status for job in done]
    print(_table(plans, done))
    print(_closing(len(plans), statuses), flush=True)
    if stopped:
        return 128 + stopped
    same = statuses[0] if len(set(statuses)) == 1 else ""
    return {"completed": 0, "refused": 2}.get(same, 1)


class _Signals:
    """Hands what this process is sent on to the job that runs."""

    def __init__(self) -> None:
        self.received = 0
        self._job: Job | None = None

    def __enter__(self) -> _Signals:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # nohup's, for one
                signal.signal(number, self._receive)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def going_to(self, job: Job) -> Iterator[Job]:
        """For the time that ``job`` runs."""
        self._job = job
        if self.received:  # while it was being started
            job.send(self.received)
        yield job
        self._job = None

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._job is not None:
            self._job.send(number)


def _table(plans: Sequence[Plan], done: Sequence[_Done]) -> str:
    lines = [_HEAD]
    for number, plan in enumerate(plans):
        rest = ("not started", "-", "-", "-")
        if number < len(done):
            job = done[number]
            folder = job.report.directory or "-"
            rest = (job.status, f"{job.seconds:.0f}", folder, job.outcome)
        lines.append((str(number + 1), " ".join(plan.swept) or "-", *rest))
    return table(lines, right=(0, 3))


def _closing(total: int, statuses: Sequence[str]) -> str:
    counts = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    counts |= {"not started": total - len(statuses)}
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{total} job{'s' if total != 1 else ''}: {found}"
