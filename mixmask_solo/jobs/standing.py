# SPDX-License-Identifier: MIT
"""How submitted jobs stand: what Slurm says of them, and what they say themselves."""

import os
import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.config.files import read_json
from mixmask_solo.jobs import queue
from mixmask_solo.jobs.records import Planned, Submission

ENDED = ("completed", "failed", "refused", "interrupted", "lost")
_PATIENCE = 60.0  # seconds between a job's end in the queue and its file on a shared disk


class Standing(NamedTuple):
    """How a job stands, in a word and in a few more."""

    state: str
    what: str = ""


def standings(submission: Submission, jobs: Sequence[Planned]) -> list[Standing]:
    """How each of some jobs of a submission stands, by Slurm's word and their own."""
    found = {} if submission.local else queue.queued([job.id for job in jobs])
    return [_standing(submission, job, found.get(job.id)) for job in jobs]


def _standing(submission: Submission, job: Planned, queued: queue.Queued | None) -> Standing:
    state = submission.state(job)
    status, outcome = state.get("status", ""), state.get("outcome", "")
    restarts = state.get("restarts", 0)
    times = "once" if restarts == 1 else f"{restarts} times"
    again = f", started again {times}" if restarts else ""
    if queued is not None and queued.state == "PENDING":
        return Standing("waiting", queued.why + (f" ({outcome})" if outcome else ""))
    if queued is not None and status not in ENDED:
        if queued.state == "RUNNING":
            return Standing("running", _progress(submission, job) + again)
        return Standing(queued.state.lower(), queued.why)
    if submission.local and status == "running" and _is_alive(job):
        return Standing("running", _progress(submission, job))
    if not status:
        if submission.local or not job.id:
            return Standing("not started")
        fresh = time.time() - submission.created < _PATIENCE
        return Standing("waiting" if fresh else "lost", "" if fresh else _gone(submission, job))
    if status in ("running", "requeued"):
        return Standing("lost", _gone(submission, job))
    return Standing(status, (" ".join(outcome.split()) or _gone(submission, job)) + again)


def _progress(submission: Submission, job: Planned) -> str:
    beats = submission.beats(job)
    if not beats or not beats[0]:
        return "starting"
    beat = beats[0]
    rate = read_json(Path(beat["directory"], "result.json")).get("images_per_second")
    parts = [f"epoch {min(beat['epoch'] + 1, beat['epochs'])} of {beat['epochs']}"]
    if beat.get("seconds_left") is not None:
        parts.append(f"{timedelta(seconds=beat['seconds_left'])} left")
    if rate:
        parts.append(f"{rate:,.0f} images/s")
    quiet = time.time() - beat["time"]
    if quiet > 120:
        parts.append(f"no step for {timedelta(seconds=int(quiet))}")
    return ", ".join(parts)


def _gone(submission: Submission, job: Planned) -> str:
    """The last words of a job that has not told how it ended."""
    lines = last_lines(log_file(submission, job, 0), 20)
    own = [line for line in lines if not line.startswith(("submitit ", "mixmask-submit: ", "srun"))]
    return own[-1] if own else "it has written nothing"


def _is_alive(job: Planned) -> bool:
    try:
        os.kill(int(job.id), 0)
    except (OSError, ValueError):
        return False
    return True


def log_file(submission: Submission, job: Planned, rank: int) -> Path:
    """What a process of a job has printed, in all its attempts."""
    return submission.folder / f"{job.id}_{rank}_log.out"


def last_lines(file: Path, count: int) -> list[str]:
    """The last lines that are not empty; none where there is no file."""
    try:
        with file.open(errors="replace") as lines:
            shown = (line.strip().rpartition("\r")[2] for line in lines)  # the end of a bar
            return list(deque(filter(None, shown), count))
    except OSError:
        return []
