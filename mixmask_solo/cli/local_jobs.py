# SPDX-License-Identifier: MIT
"""``mixmask-submit --local``: the same jobs on this machine, one after another."""

import signal
import sys
from collections.abc import Sequence
from typing import Any

from mixmask_solo.cli.job_plan import Work, tasks
from mixmask_solo.cli.jobs import exit_status, table
from mixmask_solo.config.files import write_json
from mixmask_solo.jobs.records import Submission, state_file
from mixmask_solo.jobs.standing import standings


def run_locally(command: str, submission: Submission, work: Sequence[Work]) -> int:
    """One job after the other, those behind a job right behind it; returns the exit status."""
    from mixmask_solo.jobs import batch

    all_tasks = {
        job.key: (job, task, part.options)
        for part in work
        for job, task in zip(part.jobs, tasks(submission.folder, part), strict=True)
    }
    order = sorted(all_tasks, key=lambda key: [int(part) for part in key.split(".")])
    for number, key in enumerate(order, start=1):
        job, task, options = all_tasks[key]
        before = all_tasks[job.after][0] if job.after else None
        if before is not None and submission.state(before).get("status") != "completed":
            continue
        print(f"{command}: job {number} of {len(order)} {job.label}".rstrip(), file=sys.stderr)
        with _Stoppable() as stop:
            running = batch.run_here(submission.folder, task, options)
            stop.watch(running)
            job.id = running.job_id
            submission.save()
            running.wait()
        if not submission.state(job):
            setup = "it did not start: do its setup lines work in sh?"
            write_json(
                state_file(submission.folder, job.key), {"status": "failed", "outcome": setup}
            )
        if stop.received:
            break
    found = standings(submission, submission.jobs)
    print(table(submission, submission.jobs, found))
    return 128 + stop.received if stop.received else exit_status(found)


class _Stoppable:
    """Hands what ends this process on to the job that runs here, which saves first.

    A job does not hear Ctrl-C from the terminal by itself: it was started deaf to it.
    """

    received = 0
    _job: Any = None

    def __enter__(self) -> "_Stoppable":
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        self._before = {number: signal.signal(number, self._receive) for number in numbers}
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return self

    def watch(self, job: Any) -> None:
        signal.signal(signal.SIGINT, self._receive)
        self._job = job
        if self.received:
            self._receive(self.received)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: Any = None) -> None:
        self.received = number
        if self._job is not None:
            self._job._process.send_signal(signal.SIGTERM)
