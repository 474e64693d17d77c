# SPDX-License-Identifier: MIT
"""A table's missing runs as jobs of a cluster: one array, measurements behind it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mixmask_solo.cli import jobs as told
from mixmask_solo.cli.job_plan import Work, plan
from mixmask_solo.cli.submit import submit_work
from mixmask_solo.config.files import plain_name
from mixmask_solo.jobs.options import SlurmOptions
from mixmask_solo.jobs.records import Planned, submissions
from mixmask_solo.jobs.standing import ENDED, standings
from mixmask_solo.tables.missing import Missing


def submit_missing(
    name: str,
    missing: Sequence[Missing],
    options: SlurmOptions,
    *,
    runs: Path,
    root: Path,
    dry_run: bool = False,
    wait: bool = False,
) -> int:
    """Submits what is neither done nor submitted yet; returns the exit status.

    ``runs``: where training writes; ``root``: where submissions are kept.
    """
    pending = _pending(root)
    train = [m for m in missing if not m.trained]
    train = [m for m in train if _key(m.training.command(runs)) not in pending]
    # Longest first, so that the k-th measurements are those of the first jobs, one by one.
    train.sort(key=lambda m: -len(m.evaluations))
    work = _trained(name, train, options, runs)
    work += _measured(name, [m for m in missing if m.trained], options, runs, len(train), pending)
    if not work:
        print(f"{name}: nothing to submit, {len(missing)} runs are waiting or running already")
        return 0
    folder = told.new_folder(root, work[0].name)
    if dry_run:
        return told.dry_run(folder, work)
    submission = submit_work(folder, options, work)
    return told.wait(submission) if wait else 0


def _trained(name: str, train: Sequence[Missing], options: SlurmOptions, runs: Path) -> list[Work]:
    if not train:
        return []
    whole = f"{plain_name(name)}-{len(train)}"
    jobs = [
        replace(_job(options, m.training.command(runs)), key=str(i), label=m.training.label)
        for i, m in enumerate(train)
    ]
    work = [Work(whole, options, jobs)]
    for place in range(len(train[0].evaluations)):
        behind = [
            replace(
                _job(_alone(options), m.evaluations[place].command(runs, "{checkpoint}", "{run}")),
                key=f"{i}.{place + 1}",
                after=str(i),
                label=m.training.label,
            )
            for i, m in enumerate(train)
            if place < len(m.evaluations)
        ]
        work.append(Work(f"{whole}-then-{place + 1}", _alone(options), behind, after=True))
    return work


def _measured(
    name: str,
    trained: Sequence[Missing],
    options: SlurmOptions,
    runs: Path,
    first: int,
    pending: set[str],
) -> list[Work]:
    """Measurements of runs that are there."""
    commands = [(m, e.command(runs, *m.paths)) for m in trained for e in m.evaluations]
    jobs = [
        replace(_job(_alone(options), command), key=str(first + i), label=m.training.label)
        for i, (m, command) in enumerate(
            (m, command) for m, command in commands if _key(command) not in pending
        )
    ]
    return [Work(f"{plain_name(name)}-measure-{len(jobs)}", _alone(options), jobs)] if jobs else []


def _alone(options: SlurmOptions) -> SlurmOptions:
    """A measurement's: one process."""
    gpus = min(1, options.gpus_per_node)
    return replace(options, nodes=1, tasks_per_node=1, gpus_per_node=gpus)


def _job(options: SlurmOptions, command: Sequence[str]) -> Planned:
    [work] = plan(options, command, (), None)
    [job] = work.jobs
    return job


def _key(command: Sequence[str]) -> str:
    """Configuration and overrides, without what follows from the allocation."""
    own = ("++devices=", "++num_nodes=", "++accelerator=", "++strategy=", "hydra.", "-m")
    words = [w for w in command if not w.startswith((*own, "mixmask", "--config"))]
    return " ".join(sorted(words))


def _pending(root: Path) -> set[str]:
    """Commands of jobs that wait or run, whoever submitted them from here."""
    found = set()
    for submission in submissions(root):
        if submission.local:
            continue
        for job, standing in zip(
            submission.jobs, standings(submission, submission.jobs), strict=True
        ):
            if standing.state not in ENDED:
                found.add(_key(job.command[2:]))
    return found
