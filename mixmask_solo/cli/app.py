# SPDX-License-Identifier: MIT
"""What the Hydra commands share: paths as the user means them, one line for a user's mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["fail", "run_hydra"]


def fail(command: str, message: str, code: int = 2) -> NoReturn:
    """Prints one line on stderr and exits."""
    print(f"{command}: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)


def run_hydra(command: str, usage: str, task: Callable[[Any], str]) -> None:
    """Composes the configuration the command line names, runs ``task`` on it, prints its line.

    Hydra itself is imported only once there is something to compose, so that ``--help`` is quick.
    A relative ``--config-path`` means relative to where the user stands (Hydra would take it
    relative to this module).

    Args:
        command: name shown before messages.
        usage: text for ``--help``.
        task: takes the composed configuration, returns the closing line.
    """
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage.strip(), file=sys.stdout if arguments else sys.stderr)
        raise SystemExit(0 if arguments else 2)
    sys.argv[1:] = _absolute_config_path(command, arguments)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises to us instead of printing a stack

    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from mixmask_solo.cli.quiet import quiet
    from mixmask_solo.config import ConfigError

    def run(cfg: Any) -> None:
        quiet()
        try:
            line = task(cfg)
        except ConfigError as error:  # here, before Hydra adds a line of its own
            fail(command, str(error))
        if line:
            print(line, flush=True)

    try:
        hydra.main(version_base="1.3", config_path=None, config_name=None)(run)()
    except (HydraException, OmegaConfBaseException) as error:
        fail(command, f"{error} {_hint(str(error))}")


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
