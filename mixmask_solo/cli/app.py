# SPDX-License-Identifier: MIT
"""What the Hydra commands share: paths as the user means them, sweeps, one line at the end."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pkgutil import resolve_name
from typing import Any

from mixmask_solo.cli.compose import config_folder, refuse_empty_blocks
from mixmask_solo.cli.ending import Failure, fail, loading, one_line, quiet, supervise
from mixmask_solo.cli.parser import tell_version
from mixmask_solo.config import ConfigError
from mixmask_solo.jobs.process import Outcome, reporting
from mixmask_solo.jobs.variables import OVERRIDES

_FOLDERS = ("--config-path", "-cp", "--config-dir", "-cd")
_ENDS = """
Every run writes last.ckpt, args.json, result.json, CSV and TensorBoard logs into
<checkpoint.dir>/{folder}/<name>-<overrides>-<seed>-<time>. Ctrl-C saves first and says how to
resume.
Exit status: 0 done, 1 failed, 2 wrong configuration, 128 + signal interrupted (Ctrl-C: 130). Of a
sweep: 0 all done, 2 all of wrong configuration, 128 + signal interrupted, else 1.
"""

Result = dict[str, Any]


def run_hydra(
    command: str,
    usage: str,
    folder: str,
    task: str,
    headline: Callable[[Result], str],
    details: Callable[[Result], str] | None = None,
) -> None:
    """Composes the configuration the command line names, trains, prints the closing line.

    Hydra itself is imported only once there is something to compose, so that ``--help`` is quick;
    it calls the runs' ``folder`` so. ``task`` is the ``module:function`` from the composed
    configuration to a run's result, which ``headline`` tells in a few words, after the lines of
    ``details``, where there are any.
    """
    arguments = sys.argv[1:]
    if "--version" in arguments:
        tell_version()
    if not arguments or arguments[0] in ("-h", "--help"):
        show_usage(command, usage + _ENDS.format(folder=folder), asked=bool(arguments))
    with reporting() as told, one_line(command, training=True), ExitStack() as starting:
        starting.enter_context(loading(command))
        # Once: processes that this one starts get them with its arguments.
        more = shlex.split(os.environ.pop(OVERRIDES, ""))
        sys.argv[1:] = with_absolute_folders([*arguments, *more])
        args = _read(command, sys.argv[1:])
        sys.argv[1:] = args.ordered
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises to us instead of printing a stack

        import hydra
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        from mixmask_solo.cli.composing import explain
        from mixmask_solo.cli.plan import expand
        from mixmask_solo.cli.sweep import sweep

        run = _Task(command, task, headline, details, starting, told)
        try:
            plans = expand(sys.argv[1:])
            if plans is not None:
                raise SystemExit(sweep(command, plans))
            hydra.main(version_base="1.3", config_path=None, config_name=None)(run)()
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            path = args.config_dir or args.config_path
            fail(command, explain(error, path, args.config_name, args.overrides))
        except _JobFailed as error:
            fail(command, *error.args)


class _JobFailed(Exception):
    """What ended a training in another process: its line and exit status."""


@dataclass
class _Task:
    """What Hydra runs: here, or where a launcher of its own has sent it."""

    command: str
    task: str
    headline: Callable[[Result], str]
    details: Callable[[Result], str] | None
    starting: ExitStack | None
    told: list[Outcome]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "starting": None, "told": []}

    def __call__(self, cfg: Any) -> None:
        """Trains, and prints the closing line."""
        if self.starting is not None:
            self._run(cfg)
            return
        quiet()
        try:
            self._run(cfg)
        except Failure as stop:  # a launcher brings back exceptions, but no exit status
            raise _JobFailed(stop.line, stop.code) from None

    def _run(self, cfg: Any) -> None:
        from omegaconf import OmegaConf

        from mixmask_solo.records.provenance import overrides

        train = resolve_name(self.task)

        def run() -> Result:
            refuse_empty_blocks(cfg, overrides())
            result: Result = train(cfg)
            return result

        if self.starting is not None:
            self.starting.close()
        folder = OmegaConf.select(cfg, "checkpoint.dir", throw_on_resolution_failure=False)
        result = supervise(self.command, run, folder=folder)
        if "status" in result:  # not so in a process that does not write the result
            text = self.headline(result)
            if self.details is not None and (lines := self.details(result)):
                print(lines)
            done = "nothing is left to do; " if result.get("already") else ""
            print(f"{done}{result['status']}: {text} -> {result['directory']}", flush=True)
            self.told.append(Outcome(text, result["directory"]))


def _read(command: str, arguments: Sequence[str]) -> Any:
    """What Hydra reads out of the arguments, checked."""
    from mixmask_solo.cli.composing import read_arguments

    try:
        return read_arguments(arguments)
    except ConfigError as error:
        fail(command, str(error))


def show_usage(command: str, usage: str, *, asked: bool) -> None:
    """Prints the text and exits: fine where the user asked for it, else with status 2."""
    with one_line(command, training=True):
        print(usage.strip(), file=sys.stdout if asked else sys.stderr)
    raise SystemExit(0 if asked else 2)


def told_metrics(result: Result, wanted: Sequence[tuple[str, str, str]]) -> list[str]:
    """The metrics that there are in words, with the epoch where that is not the last one.

    ``wanted`` are name, label, and format with a unit, such as ``{:.2f} %``.
    """
    now, earlier = result.get("metrics", {}), result.get("earlier_metrics", {})
    told = []
    for name, label, form in wanted:
        if name in now:
            told.append(f"{label} {form.format(now[name])}")
        elif name in earlier:
            then = earlier[name]
            told.append(f"{label} {form.format(then['value'])} (epoch {then['epoch'] + 1})")
    return told


def with_absolute_folders(arguments: Sequence[str]) -> Iterator[str]:
    """``--config-path X`` and ``--config-path=X`` are relative to where the user stands; Hydra
    would take them relative to this module."""
    for before, argument in pairwise(["", *arguments]):
        follows = before in _FOLDERS
        flag, equals, folder = ("", "", argument) if follows else argument.partition("=")
        named = follows or (equals and flag in _FOLDERS)
        if named and not folder.startswith(("pkg://", "file://")):
            folder = str(config_folder(folder))
        yield f"{flag}{equals}{folder}"
