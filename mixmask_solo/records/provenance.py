# SPDX-License-Identifier: MIT
"""Where a run comes from: the command, the date, the machine, the state of the code."""

import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import mixmask_solo
from mixmask_solo.records.result import now, this_process

PROVENANCE = "provenance"  # key of ``result.json`` and ``args.json``


def provenance() -> dict[str, Any]:
    """``date`` (UTC, ISO 8601), ``command``, ``overrides``, ``machine``, ``commit``, ``dirty``.

    ``overrides`` are those of a Hydra command. ``commit`` is that of the checkout which this
    package is imported from and ``dirty`` whether a file under version control differs from it;
    both are null where it was installed from elsewhere.
    """
    return {
        "date": now(),
        "command": shlex.join([_name(), *sys.argv[1:]]),
        "overrides": overrides(),
        "machine": this_process()["host"],
        **_code(),
    }


def _name() -> str:
    """The command's; a job starts it as a module."""
    program = Path(sys.argv[0])
    ours = program.parent.name == "cli" and program.suffix == ".py"
    return f"mixmask-{program.stem}" if ours else program.name


def overrides() -> list[str]:
    """``key=value`` that the user gave to the Hydra command which this is, if it is one."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


@cache
def _code() -> dict[str, Any]:
    package = Path(mixmask_solo.__file__).parent
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"commit": None, "dirty": None}  # no checkout, or that of another project around it
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    dirty = None if changed is None else bool(changed)
    return {"commit": _git(package, "rev-parse", "HEAD"), "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None where it is not there, or fails."""
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
