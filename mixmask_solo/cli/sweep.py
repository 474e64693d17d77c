# SPDX-License-Identifier: MIT
"""``--multirun``: one job after the other, whatever becomes of each, and a table of them all."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from mixmask_solo.cli.plan import Planned
from mixmask_solo.jobs.process import Outcome, Process, Relay, this_command
from mixmask_solo.jobs.variables import RUN
from mixmask_solo.report import columns

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_HEAD = ("job", "overrides", "status", "seconds", "folder", "outcome")


class _Done(NamedTuple):
    code: int
    seconds: float
    report: Outcome

    @property
    def signal(self) -> int:
        """The signal that stopped the job on purpose, or 0."""
        return self.code - 128 if self.code - 128 in _SIGNALS else 0

    @property
    def status(self) -> str:
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


def sweep(command: str, plans: Sequence[Planned]) -> int:
    """Runs the jobs and prints the table; returns the exit status.

    0 where all completed, 2 where each had a wrong configuration, else 1; 128 + signal where a
    signal stopped a job, and with it those that had not been started.
    """
    done: list[_Done] = []
    stopped = 0
    own = {key: value for key, value in os.environ.items() if key != RUN}  # each has its own run
    with Relay({number: number for number in _SIGNALS}) as signals:
        for number, plan in enumerate(plans, start=1):
            what = " ".join(plan.swept)
            print(f"{command}: job {number} of {len(plans)} {what}".rstrip(), file=sys.stderr)
            begun = time.monotonic()
            code, report = signals.wait(Process([*this_command(), *plan.arguments], own))
            code = 128 - code if code < 0 else code  # as a shell has it
            done.append(_Done(code, time.monotonic() - begun, report))
            stopped = signals.received or done[-1].signal
            if stopped:
                break
    counts = Counter(job.status for job in done)
    counts["not started"] = len(plans) - len(done)
    found = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    print(_table(plans, done))
    print(f"{len(plans)} job{'s' if len(plans) != 1 else ''}: {found}", flush=True)
    if stopped:
        return 128 + stopped
    if counts["completed"] == len(plans):
        return 0
    return 2 if counts["refused"] == len(plans) else 1


def _table(plans: Sequence[Planned], done: Sequence[_Done]) -> str:
    lines = [_HEAD]
    for number, (plan, job) in enumerate(zip_longest(plans, done), start=1):
        rest = ("not started", "-", "-", "-")
        if job is not None:
            rest = (job.status, f"{job.seconds:.0f}", job.report.directory or "-", job.outcome)
        lines.append((str(number), " ".join(plan.swept) or "-", *rest))
    return columns(lines, right=(0, 3))
