# SPDX-License-Identifier: MIT
"""The jobs of ``mixmask-submit``: which there are, and what each runs."""

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.config.files import plain_name
from mixmask_solo.jobs.options import SlurmOptions, read_overrides
from mixmask_solo.jobs.records import Planned
from mixmask_solo.jobs.task import Task, as_path

_TRAINING = ("mixmask-pretrain", "mixmask-linear", "mixmask-finetune", "mixmask-detect")
_OTHERS = (
    *("mixmask-knn", "mixmask-health", "mixmask-export"),
    *("mixmask-gallery", "mixmask-data", "mixmask-solo"),
)
_ALLOCATED = ("devices", "num_nodes")  # keys that follow from the job


@dataclass
class Work:
    """One call of ``sbatch``: a job, or an array."""

    name: str
    options: SlurmOptions
    jobs: list[Planned]
    foreign: bool = False  # solo-learn's own scripts
    after: bool = False  # of those of the first


def plan(
    options: SlurmOptions, command: Sequence[str], then: Sequence[str], name: str | None
) -> list[Work]:
    """The command's jobs, then for each of ``then`` those that take up their runs.

    Raises:
        ConfigError: for a command that is none of ours, and for what `expand` finds wrong.
    """
    first = _work(options, command, name)
    found = [first]
    for number, text in enumerate(then, start=1):
        own, words = options, _words(text)
        if "--" in words:
            at = words.index("--")
            own, words = read_overrides(options, words[:at]), words[at + 1 :]
        part = _work(own, words, None)
        if len(part.jobs) > 1:
            raise ConfigError(f"--then '{text}' is more than one job: give --then for each")
        [job] = part.jobs
        behind = [
            replace(job, key=f"{before.key}.{number}", after=before.key, label=before.label)
            for before in first.jobs
        ]
        found.append(replace(part, jobs=behind, after=True, name=f"{first.name}-then-{part.name}"))
    return found


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f'--then "{text}" is no command line: {error}') from None


def tasks(folder: Path, work: Work) -> list[Task]:
    """What the nodes get; each job's run has a folder of its own."""
    run = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:6]}"
    o = work.options
    return [
        Task(
            *(job.command, str(folder), job.key, f"{run}-{job.key}"),
            max_requeues=o.max_requeues,
            requeue_lost=o.requeue_lost,
            foreign=work.foreign,
            resumes=_resumes(work, job),
            after=job.after,
        )
        for job in work.jobs
    ]


def _resumes(work: Work, job: Planned) -> bool:
    """Whether the command goes on where it was when it is started again."""
    given = [word.lstrip("+") for word in job.command]
    return not work.foreign or "auto_resume.enabled=true" in (word.lower() for word in given)


def _work(options: SlurmOptions, command: Sequence[str], name: str | None) -> Work:
    known = (*_TRAINING, *_OTHERS)
    if not command or command[0] not in known:
        what = f"'{command[0]}'" if command else "nothing"
        raise ConfigError(f"{what} is none of our commands: give {listing(known)}")
    program, arguments = command[0], list(command[1:])
    script = program == "mixmask-solo" and arguments[:1] not in ([], ["-m"])
    if program in _TRAINING:
        expanded = _of_ours(arguments)
    elif script:
        expanded = _of_a_script(arguments)
        script = any(word.partition("=")[0] == "--config-name" for word in arguments)
    else:
        expanded = [(arguments, [])]
    if program in _TRAINING or script:
        expanded = [(_allocated(options, own, solo=script), swept) for own, swept in expanded]
    else:  # nothing that several processes could share
        gpus = min(1, options.gpus_per_node)
        options = replace(options, nodes=1, tasks_per_node=1, gpus_per_node=gpus)
    module = f"mixmask_solo.cli.{program.partition('-')[2]}"
    jobs = [
        Planned(str(number), ["-m", module, *own], " ".join(swept))
        for number, (own, swept) in enumerate(expanded)
    ]
    return Work(plain_name(name or _name(program, arguments)), options, jobs, foreign=script)


def _of_ours(arguments: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """Each job's arguments, and those of them that differ; Hydra composes what is common."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    from mixmask_solo.cli.app import with_absolute_folders
    from mixmask_solo.cli.composing import explain, read_arguments
    from mixmask_solo.cli.plan import expand

    given = list(with_absolute_folders([as_path(word) for word in arguments]))
    args = read_arguments(given)
    given = list(args.ordered)
    if not {"-m", "--multirun"} & set(given):
        given.append("-m")
    try:
        found = expand(given)
    except (HydraException, OmegaConfBaseException, YAMLError) as error:
        path = args.config_dir or args.config_path
        raise ConfigError(explain(error, path, args.config_name, args.overrides)) from error
    if found is None:
        raise ConfigError(
            "hydra/sweeper or hydra/launcher is chosen: with mixmask-submit lists of values make "
            "the jobs; remove it, or run the command itself with that launcher"
        )
    return [(own.arguments, own.swept) for own in found]


def _of_a_script(arguments: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    from hydra.errors import HydraException

    from mixmask_solo.cli.plan import expand_words

    try:
        return expand_words(arguments)
    except HydraException as error:
        raise ConfigError(str(error)) from error


def _allocated(options: SlurmOptions, arguments: Sequence[str], *, solo: bool) -> list[str]:
    """With what follows from the job; raises ConfigError where the user gave it.

    solo-learn's scripts count devices by ``len``: of a list, or on the CPU, which takes none, of
    text.
    """
    keys = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    for key in _ALLOCATED:
        if key in keys:
            raise ConfigError(
                f"{key} is given to the command, but it follows from what the job asks for: give "
                f"{'nodes' if key == 'num_nodes' else 'gpus_per_node or tasks_per_node'} before "
                "the --"
            )
    devices = str(options.processes)
    if solo and options.gpus_per_node:
        devices = f"[{','.join(map(str, range(options.gpus_per_node)))}]"
    elif solo:
        devices = f"'{devices}'"
    added = [f"++devices={devices}", f"++num_nodes={options.nodes}"]
    if "accelerator" not in keys:
        added.append(f"++accelerator={'gpu' if options.gpus_per_node else 'cpu'}")
    if "strategy" not in keys:
        alone = options.nodes * options.processes == 1
        added.append(f"++strategy={'auto' if alone else 'ddp'}")
    return [*arguments, *added]


def _name(program: str, arguments: Sequence[str]) -> str:
    """The configuration's, or the command's."""
    for before, argument in zip(["", *arguments], [*arguments, ""], strict=True):
        flag, equals, value = argument.partition("=")
        if before in ("--config-name", "-cn"):
            return argument.removesuffix(".yaml")
        if equals and flag in ("--config-name", "-cn"):
            return value.removesuffix(".yaml")
    return program.removeprefix("mixmask-")
