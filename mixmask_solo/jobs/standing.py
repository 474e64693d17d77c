# SPDX-License-Identifier: MIT
"""How submitted jobs stand: what Slurm says of them, and what they say themselves."""

import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from mixmask_solo.config.files import read_json
from mixmask_solo.jobs import queue
from mixmask_solo.jobs.records import Planned, Submission
from mixmask_solo.records.registry.processes import process_began, process_exists

ENDED = ("completed", "failed", "refused", "interrupted", "cancelled", "not started", "lost")


_STALE = 600.0  # seconds without a step after which a job of another machine counts as gone
_ROUNDED = 2.0  # seconds by which a process seems to have begun later than it did
_TOLD = {"directory", "epoch", "epochs", "time"}  # by a process of how far it is


class Standing(NamedTuple):
    """How a job stands, in a word and in a few more."""

    state: str
    what: str = ""


def standings(
    submission: Submission,
    jobs: Sequence[Planned],
    queued: Mapping[str, queue.Queued] | None = None,
) -> list[Standing]:
    """How each of some jobs of a submission stands, by Slurm's word and their own.

    ``queued`` is what Slurm still has, where it was asked before. Raises ConfigError where it does
    not answer.
    """
    if queued is None:
        queued = {} if submission.local else queue.queued(open_ids(submission))
    return [_standing(submission, job, queued.get(job.id)) for job in jobs]


def open_ids(submission: Submission) -> list[str]:
    """Numbers of the jobs that may still be in Slurm's hands: only completed ones cannot."""
    jobs = [] if submission.local else submission.jobs
    return [job.id for job in jobs if submission.state(job).get("status") != "completed"]


def _standing(submission: Submission, job: Planned, queued: queue.Queued | None) -> Standing:
    state = submission.state(job)
    status, outcome = str(state.get("status", "")), " ".join(str(state.get("outcome", "")).split())
    restarts = state.get("restarts", 0)
    times = "once" if restarts == 1 else f"{restarts} times"
    again = f", started again {times}" if restarts else ""
    if queued is not None:
        return _in_queue(submission, job, queued, status, outcome, again)
    if submission.local and status == "running" and _is_alive(submission, job, state):
        return Standing("running", _progress(submission, job))
    if status not in ("", "running", "requeued"):
        return Standing(status, (outcome or _last_words(submission, job)) + again)
    if job.cancelled:
        return Standing("cancelled")
    before = next((other for other in submission.jobs if other.key == job.after), None)
    if before is not None and submission.state(before).get("status") != "completed" and not status:
        return Standing("not started", "the job before it is not completed")
    if not status and (submission.local or not job.id):
        return Standing("not started")
    return Standing("lost", _last_words(submission, job))


def _in_queue(
    submission: Submission,
    job: Planned,
    queued: queue.Queued,
    status: str,
    outcome: str,
    again: str,
) -> Standing:
    """Whatever Slurm still has is not over; what it says last may be of an earlier attempt."""
    if queued.state == "PENDING":
        return Standing("waiting", queued.why + (f" ({outcome})" if outcome else ""))
    if queued.state != "RUNNING":
        return Standing(queued.state.lower(), queued.why)
    if status == "running":
        return Standing("running", _progress(submission, job) + again)
    return Standing("running", "starting" if not status else "ending, or starting again")


def _progress(submission: Submission, job: Planned) -> str:
    beats = submission.beats(job)
    if not beats or not beats[0].keys() >= _TOLD:
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


def _last_words(submission: Submission, job: Planned) -> str:
    """The last words of a job that has not told how it ended."""
    lines = last_lines(log_file(submission, job, 0), 20)
    own = [line for line in lines if not line.startswith(("submitit ", "mixmask-submit: ", "srun"))]
    return own[-1] if own else "it has written nothing"


def _is_alive(submission: Submission, job: Planned, state: Mapping[str, Any]) -> bool:
    """Whether a local job's process runs: of this machine the very one that began it, whose number
    another may have by now; of another machine one that has told of itself lately."""
    if state.get("host") != socket.gethostname():
        return any(time.time() - beat["time"] < _STALE for beat in submission.beats(job))
    if not job.id.isdecimal() or not process_exists(int(job.id)):
        return False
    began = process_began(int(job.id))
    return began is None or began <= float(state.get("began", 0)) + _ROUNDED


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
