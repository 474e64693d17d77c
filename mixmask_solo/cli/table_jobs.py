# SPDX-License-Identifier: MIT
"""A table's missing runs as jobs of a cluster: one array, measurements behind it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mixmask_solo.cli import jobs as told
from mixmask_solo.cli.job_plan import Work, plan
from mixmask_solo.cli.submit import submit_work
from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import plain_name
from mixmask_solo.jobs.options import SlurmOptions
from mixmask_solo.jobs.records import Planned, submissions
from mixmask_solo.jobs.standing import ENDED, standings
from mixmask_solo.records.registry.record import LAST
from mixmask_solo.tables.missing import Missing
from mixmask_solo.tables.training import Evaluation


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
    train = []
    for m in missing:
        if m.trained or _key(_job(options, m.training.command(runs)).command) in pending:
            continue
        if m.alive:
            print(f"{name}: {m.training.label} is being trained already", file=sys.stderr)
            continue
        train.append(m)
    train.sort(key=lambda m: [-len(part) for part in _parts(m)])
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
    for own, parts in zip(
        (_alone(options), options), zip(*map(_parts, train), strict=True), strict=True
    ):
        for place in range(max(map(len, parts))):
            number = len(work)
            behind = [
                replace(
                    _job(own, part[place].command(runs, "{checkpoint}", "{run}")),
                    key=f"{i}.{number}",
                    after=str(i),
                    label=m.training.label,
                )
                for i, (m, part) in enumerate(zip(train, parts, strict=True))
                if place < len(part)
            ]
            _require_in_step(behind)
            work.append(Work(f"{whole}-then-{number}", own, behind, after=True))
    return work


def _parts(missing: Missing) -> tuple[list[Evaluation], list[Evaluation]]:
    """Measurements in one process, and those of as many as training has."""
    parts: tuple[list[Evaluation], list[Evaluation]] = [], []
    for evaluation in missing.evaluations:
        parts[evaluation.wide].append(evaluation)
    return parts


def _require_in_step(behind: Sequence[Planned]) -> None:
    """Slurm lets the k-th task of an array wait for the k-th of another one, and no other."""
    if any(job.after != str(i) for i, job in enumerate(behind)):
        raise ConfigError(
            "some of these runs have fewer probes but more detectors than others: choose columns "
            "of one kind with --columns"
        )


def _measured(
    name: str,
    trained: Sequence[Missing],
    options: SlurmOptions,
    runs: Path,
    first: int,
    pending: set[str],
) -> list[Work]:
    """Measurements of runs that are there."""
    work = []
    for wide, own in enumerate((_alone(options), options)):
        made = [
            (m, _job(own, evaluation.command(runs, *m.paths)))
            for m in trained
            for evaluation in _parts(m)[wide]
        ]
        made = [(m, job) for m, job in made if _key(job.command) not in pending]
        jobs = [
            replace(job, key=str(first + i), label=m.training.label)
            for i, (m, job) in enumerate(made)
        ]
        first += len(jobs)
        kind = "detect" if wide else "measure"
        if jobs:
            work.append(Work(f"{plain_name(name)}-{kind}-{len(jobs)}", own, jobs))
    return work


def _alone(options: SlurmOptions) -> SlurmOptions:
    """A measurement's: one process."""
    gpus = min(1, options.gpus_per_node)
    return replace(options, nodes=1, tasks_per_node=1, gpus_per_node=gpus)


def _job(options: SlurmOptions, command: Sequence[str]) -> Planned:
    [work] = plan(options, command, (), None)
    [job] = work.jobs
    return job


def _key(command: Sequence[str], run: str = "") -> str:
    """What a planned job does, without what follows from its allocation.

    ``run``: the folder that ``{run}`` and ``{checkpoint}`` mean.
    """
    own = ("++devices=", "++num_nodes=", "++accelerator=", "++strategy=")
    words = [word for word in command if not word.startswith(own)]
    named = {"{checkpoint}": f"{run}/{LAST}", "{run}": run}
    for name, path in named.items() if run else ():
        words = [word.replace(name, path) for word in words]
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
                before = next((j for j in submission.jobs if j.key == job.after), None)
                run = submission.state(before).get("directory", "") if before else ""
                found.add(_key(job.command, str(run)))
    return found
