# SPDX-License-Identifier: MIT
"""What ``mixmask-submit`` shows: what would be submitted, how jobs stand, their logs."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from mixmask_solo.cli.job_plan import Work
from mixmask_solo.cli.parser import Parser, at_least
from mixmask_solo.config import ConfigError
from mixmask_solo.jobs import queue
from mixmask_solo.jobs.records import Planned, Submission, find, submissions
from mixmask_solo.jobs.standing import (
    ENDED,
    Standing,
    last_lines,
    log_file,
    open_ids,
    standings,
)
from mixmask_solo.report import columns

COMMANDS = ("status", "logs", "cancel")
_HEAD = ("job", "slurm", "overrides", "state", "what")
_POLL = 5.0  # seconds
_PATIENCE = 60.0


def new_folder(root: Path, name: str) -> Path:
    """A submission's folder, which does not exist yet; raises ConfigError for one with a ``%``."""
    folder = (
        root.expanduser().absolute() / f"{name}-{time.strftime('%m%d-%H%M%S')}-{uuid4().hex[:4]}"
    )
    if "%" in str(folder):
        raise ConfigError(f"--folder {root}: Slurm reads % in a path as a pattern; choose another")
    return folder


def main(command: str, arguments: Sequence[str]) -> int:
    """``status``, ``logs`` and ``cancel``; returns the exit status."""
    parser = Parser(f"{command} {arguments[0]}")
    add = parser.add_argument
    add("job", nargs="?" if arguments[0] == "status" else None, help="Slurm's number, or a folder")
    add("--folder", type=Path, default=Path("jobs"), help="where jobs are kept (default: jobs)")
    if arguments[0] == "logs":
        add("--rank", type=at_least(0), default=0, help="which process's (default: 0)")
        add("--lines", type=at_least(1), default=20, help="how many of the last (default: 20)")
    args = parser.parse_args(arguments[1:])
    if arguments[0] == "status" and args.job is None:
        return _show_all(args.folder)
    submission, jobs = find(args.folder, args.job)
    if arguments[0] == "status":
        print(table(submission, jobs))
    elif arguments[0] == "logs":
        _show_logs(submission, jobs, args.rank, args.lines)
    else:
        _cancel(submission, jobs)
    return 0


def dry_run(folder: Path, work: Sequence[Work]) -> int:
    """Prints batch scripts and jobs, and resolves each configuration as its run will."""
    from mixmask_solo.jobs import batch

    for part in work:
        kind = "aftercorr" if len(part.jobs) > 1 else "afterok"
        after = f"{kind}:JOB" if part.after else None
        print(batch.script(part.options, folder, part.name, len(part.jobs), after))
    jobs = [job for part in work for job in part.jobs]
    print(columns([("job", "command"), *((job.key, _as_typed(job)) for job in jobs)]))
    wrong = [line for job in jobs if (line := _mistake(job))]
    for line in wrong:
        print(f"mixmask-submit: {line}", file=sys.stderr)
    print(f"{len(jobs)} job{'s' * (len(jobs) != 1)}, {len(wrong)} of wrong configuration")
    return 2 if wrong else 0


def _as_typed(job: Planned) -> str:
    program = f"mixmask-{job.command[1].rpartition('.')[2]}"
    return shlex.join([program, *job.command[2:]])


def _mistake(job: Planned) -> str:
    """What is wrong with a training's configuration, as far as can be told here."""
    module, arguments = job.command[1], job.command[2:]
    if module.rpartition(".")[2] not in ("pretrain", "linear", "finetune", "detect"):
        return ""
    from mixmask_solo.cli.compose import compose
    from mixmask_solo.runs.pretrain import resolve

    named = dict(word[2:].split("=", 1) for word in arguments if word.startswith("--"))
    overrides = [word for word in arguments if not word.startswith("-")]
    if set(named) != {"config-path", "config-name"}:
        return ""  # composed from elsewhere, too
    try:
        cfg = compose(named["config-path"], named["config-name"], overrides)
        if module.endswith("pretrain"):  # a probe's checkpoint may not be there yet
            resolve(cfg, here=False)
    except ConfigError as error:
        return f"job {job.key}: {error}"
    return ""


def submitted(command: str, submission: Submission) -> None:
    """Says what was handed over and how to look after it."""
    jobs = submission.jobs
    numbers = sorted({job.id.partition("_")[0] for job in jobs if job.id}, key=len)
    what = f"{len(jobs)} job{'s' * (len(jobs) != 1)}"
    where = "here" if submission.local else f"as {', '.join(numbers)}"
    print(f"submitted {what} {where}; logs and states in {submission.folder}")
    if not submission.local:
        print(f"  {command} status {numbers[0]}")
        print(f"  {command} logs {numbers[0]}")
        print(f"  {command} cancel {numbers[0]}", flush=True)


def wait(submission: Submission) -> int:
    """Shows the table whenever it changes, until all jobs have ended; returns the exit status.

    A job that is out of Slurm's hands without a word is given a minute: a shared disk lags.
    """
    shown, quiet = "", 0.0
    while True:
        with suppress(ConfigError):  # Slurm does not answer: ask again
            found = standings(submission, submission.jobs)
            counts = Counter(row.state for row in found)
            line = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
            if line != shown:
                many = len(submission.jobs) > 20
                print(line if many else table(submission, submission.jobs, found), flush=True)
                shown = line
            over = all(state in ENDED for state in counts)
            quiet = quiet + _POLL if over and counts["lost"] else 0.0
            if over and (not counts["lost"] or quiet > _PATIENCE):
                return exit_status(found)
        time.sleep(_POLL)


def exit_status(found: Sequence[Standing]) -> int:
    """0 where all are completed, 2 where each was refused, else 1."""
    states = {row.state for row in found}
    return 0 if states == {"completed"} else 2 if states == {"refused"} else 1


def _show_all(root: Path) -> int:
    every = list(submissions(root))
    queued = queue.queued([number for submission in every for number in open_ids(submission)])
    rows = []
    for submission in every:
        found = standings(submission, submission.jobs, queued)
        counts = Counter(row.state for row in found)
        told = ", ".join(f"{count} {state}" for state, count in counts.items())
        number = next((job.id.partition("_")[0] for job in submission.jobs), "")
        rows.append((number or "-", submission.name, told, str(submission.folder)))
    if rows:
        print(columns([("slurm", "name", "jobs", "folder"), *rows]))
    else:
        print(f"no jobs in {root.absolute()}")
    return 0


def table(
    submission: Submission, jobs: Sequence[Planned], found: Sequence[Standing] | None = None
) -> str:
    """Jobs and how they stand."""
    rows = zip(jobs, found or standings(submission, jobs), strict=True)
    lines = [(job.key, job.id or "-", job.label or "-", *standing) for job, standing in rows]
    return columns([_HEAD, *lines])


def _show_logs(submission: Submission, jobs: Sequence[Planned], rank: int, count: int) -> None:
    for job in jobs:
        file = log_file(submission, job, rank)
        lines = last_lines(file, count)
        print("\n".join([f"==> {file}" if lines else f"==> {file}: nothing yet", *lines]))


def _cancel(submission: Submission, jobs: Sequence[Planned]) -> None:
    found = zip(jobs, standings(submission, jobs), strict=True)
    alive, waiting = [], []
    for job, standing in found:
        if standing.state not in ENDED:
            alive.append(job)
            waiting += [job] if standing.state == "waiting" else []
    keys = {job.key for job in alive}
    alive += [job for job in submission.jobs if job.after in keys and job.key not in keys]
    if not alive:
        print("nothing to cancel: all jobs have ended")
    elif submission.local:
        raise ConfigError("these jobs run in the terminal that started them: Ctrl-C there")
    else:
        queue.cancel([job.id for job in alive])
        for job in (*waiting, *(job for job in alive if job.after in keys)):
            job.cancelled = True
        submission.save()
        print(f"cancelled {len(alive)} job{'s' * (len(alive) != 1)}: a run that trains saves first")
