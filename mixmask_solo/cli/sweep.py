# SPDX-License-Identifier: MIT
"""``--multirun``: one job after the other, whatever becomes of each, and a table of them all.

The jobs are those that Hydra's own sweeper makes out of a command line.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from itertools import product, zip_longest
from types import FrameType
from typing import Any, NamedTuple

from mixmask_solo.cli.job import Job, Outcome
from mixmask_solo.config import ConfigError
from mixmask_solo.report import columns

_BASIC = ["BasicSweeper", "BasicLauncher"]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
_HEAD = ("job", "overrides", "status", "seconds", "folder", "outcome")


class Planned(NamedTuple):
    """One job: all its arguments, and those of them that differ between jobs."""

    arguments: list[str]
    swept: list[str]


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


def expand(arguments: Sequence[str]) -> list[Planned] | None:
    """The jobs of a command line, the last key changing fastest.

    None where no sweep is asked for, or another sweeper or launcher is chosen. What is the same
    for all jobs is composed here, so that a mistake in it stops all of them: HydraException, or
    ConfigError for an interval, which has no end of values.
    """
    from hydra._internal.utils import get_args_parser

    args: Any = get_args_parser().parse_args(list(arguments))
    if not (args.multirun or "hydra.mode=MULTIRUN" in args.overrides):
        return None
    loader, cfg = _compose(args)
    chosen = (cfg.hydra.sweeper._target_, cfg.hydra.launcher._target_)
    if [target.rpartition(".")[2] for target in chosen] != _BASIC:
        return None
    named = {"name": args.config_name, "path": args.config_path, "dir": args.config_dir}
    common = [f"--config-{what}={value}" for what, value in named.items() if value]
    common += [o for o in cfg.hydra.overrides.hydra if not o.startswith("hydra.mode=")]
    common += ["hydra.mode=RUN"] if cfg.hydra.mode else []
    overrides = [f"{key}={value}" for key, value in (cfg.hydra.sweeper.params or {}).items()]
    choices = _choices(loader, [*overrides, *cfg.hydra.overrides.task])
    swept = [len(values) > 1 for values in choices]
    return [
        Planned([*common, *job], [o for o, differs in zip(job, swept, strict=True) if differs])
        for job in product(*choices)
    ]


def _compose(args: Any) -> tuple[Any, Any]:
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    path = create_config_search_path(args.config_path)
    if args.config_dir:
        path.prepend("command-line", f"file://{args.config_dir}")
    hydra = Hydra.create_main_hydra2("sweep", path)
    try:
        cfg = hydra.compose_config(
            args.config_name, args.overrides, RunMode.MULTIRUN, with_log_configuration=False
        )
        return hydra.config_loader, cfg
    finally:
        GlobalHydra.instance().clear()


def _choices(loader: Any, overrides: Sequence[str]) -> list[list[str]]:
    """For each key all overrides of it; where a key is given twice the later one counts."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    choices: dict[str, list[str]] = {}
    for override in OverridesParser.create(loader).parse_overrides(list(overrides)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices[key] = [str(override.input_line)]
        elif override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not choices[key]:
                raise ConfigError(f"{override.input_line}: nothing matches it")
        else:
            raise ConfigError(f"{override.input_line}: a sweep takes values, not an interval")
    return list(choices.values())


def sweep(command: str, plans: Sequence[Planned]) -> int:
    """Runs the jobs and prints the table; returns the exit status.

    0 where all completed, 2 where each had a wrong configuration, else 1; 128 + signal where a
    signal stopped a job, and with it those that had not been started.
    """
    done: list[_Done] = []
    stopped = 0
    signals = _Signals()
    with signals:
        for number, plan in enumerate(plans, start=1):
            what = " ".join(plan.swept)
            print(f"{command}: job {number} of {len(plans)} {what}".rstrip(), file=sys.stderr)
            begun = time.monotonic()
            code, report = signals.wait(Job(plan.arguments))
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


class _Signals:
    """Hands what this process is sent on to the job that runs."""

    def __init__(self) -> None:
        self.received = 0
        self._job: Job | None = None

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:  # nohup's, for one
                signal.signal(number, self._receive)

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self, job: Job) -> tuple[int, Outcome]:
        self._job = job
        if self.received:  # while it was being started
            job.send(self.received)
        return job.wait()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if self._job is not None:
            self._job.send(number)


def _table(plans: Sequence[Planned], done: Sequence[_Done]) -> str:
    lines = [_HEAD]
    for number, (plan, job) in enumerate(zip_longest(plans, done), start=1):
        rest = ("not started", "-", "-", "-")
        if job is not None:
            rest = (job.status, f"{job.seconds:.0f}", job.report.directory or "-", job.outcome)
        lines.append((str(number), " ".join(plan.swept) or "-", *rest))
    return columns(lines, right=(0, 3))
