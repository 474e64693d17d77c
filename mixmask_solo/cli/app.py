# SPDX-License-Identifier: MIT
"""What the Hydra commands share: paths as the user means them, sweeps, one line at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mixmask_solo.cli.ending import fail, loading, one_line
from mixmask_solo.cli.job import Report, reporting

__all__ = ["Task", "run_hydra"]

Result = dict[str, Any]
Task = Callable[[Any], Result]


def run_hydra(
    command: str, usage: str, load: Callable[[], Task], headline: Callable[[Result], str]
) -> None:
    """Composes the configuration the command line names, trains, prints the closing line.

    Hydra itself is imported only once there is something to compose, so that ``--help`` is quick.
    A relative ``--config-path`` means relative to where the user stands (Hydra would take it
    relative to this module).

    Args:
        command: name shown before messages.
        usage: text for ``--help``.
        load: imports what takes long, returns the task: from the composed configuration to a
            run's result.
        headline: the result in a few words, for the closing line.
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage.strip(), file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    with reporting() as told, one_line(command), ExitStack() as starting:
        starting.enter_context(loading(command))
        sys.argv[1:] = _absolute_config_path(command, arguments)
        os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises to us instead of printing a stack

        import hydra
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from mixmask_solo.cli.quiet import quiet

        def run(cfg: Any) -> None:
            quiet()
            task = load()
            starting.close()
            result = task(cfg)
            if "status" in result:  # not so in a process that does not write the result
                text = headline(result)
                done = "nothing is left to do; " if result.get("already") else ""
                print(f"{done}{result['status']}: {text} -> {result['directory']}", flush=True)
                told.append(Report(text, result["directory"]))

        try:
            _sweep(command)
            hydra.main(version_base="1.3", config_path=None, config_name=None)(run)()
        except (HydraException, OmegaConfBaseException) as error:
            fail(command, f"{error} {_hint(str(error))}")


def _sweep(command: str) -> None:
    """Runs the jobs that ``--multirun`` asks for, and exits; does nothing without it."""
    from mixmask_solo.cli.expand import expand, parse
    from mixmask_solo.cli.sweep import sweep

    args = parse(sys.argv[1:])
    plans = expand(args) if args.multirun or "hydra.mode=MULTIRUN" in args.overrides else None
    if plans is not None:
        raise SystemExit(sweep(command, plans))


def _hint(message: str) -> str:
    if "Could not override" in message or "not in struct" in message:
        return "(the configuration has no such key; check its spelling, or add it with a leading +)"
    if "Cannot find primary config" in message:
        return "(--config-path is taken relative to the current folder)"
    return ""


def _absolute_config_path(command: str, arguments: list[str]) -> list[str]:
    """``--config-path X``, ``--config-path=X``, ``-cp X`` with X made absolute."""
    out = list(arguments)
    names = [a.split("=", 1)[0] for a in arguments]
    if not any(n in ("--config-name", "-cn") for n in names):
        fail(command, "give --config-path FOLDER and --config-name FILE (see --help)")
    for i, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag not in ("--config-path", "-cp", "--config-dir", "-cd"):
            continue
        if equals:
            out[i] = f"{flag}={_existing(command, value)}"
        elif i + 1 < len(arguments):
            out[i + 1] = _existing(command, arguments[i + 1])
    return out


def _existing(command: str, value: str) -> str:
    if value.startswith(("pkg://", "file://")):
        return value
    path = Path(value).expanduser().resolve()
    if not path.is_dir():
        fail(command, f"--config-path {value}: no such folder (looked for {path})")
    return str(path)
