# SPDX-License-Identifier: MIT
"""How many processor cores a training process may use: not how many the machine has.

A batch job or a container gets a share, told by the scheduler's affinity mask, by a control group's
quota of processor time, or by Slurm's variables alone. Starting a worker a core of the machine
there makes them fight over the share.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

__all__ = ["core_share"]


def core_share(
    processes: int = 1, *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
) -> int:
    """Cores for one training process.

    Args:
        processes: training processes on this machine; they share evenly.
        root: of the file system, where control groups are looked for.
        environ: where Slurm's variables are looked for.

    Returns:
        At least 1.
    """
    cores = min(_affinity(), _quota(root) or _affinity())
    tasks = _number(environ, "SLURM_NTASKS_PER_NODE") or _first(environ, "SLURM_TASKS_PER_NODE")
    tasks = max(1, tasks if "SLURM_JOB_ID" in environ else 1)
    # each training process is a Slurm task, or all of them were started by the only task
    beside = max(1, processes // tasks)
    granted = _granted(environ, tasks)
    if granted is None:
        return max(1, cores // processes)
    if cores <= granted:  # the task is confined to its own cores already
        return max(1, cores // beside)
    return max(1, min(granted // beside, cores // processes))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _granted(environ: Mapping[str, str], tasks: int) -> int | None:
    """Cores of one Slurm task; None outside of Slurm."""
    if "SLURM_JOB_ID" not in environ:
        return None
    each = _number(environ, "SLURM_CPUS_PER_TASK")
    if each:
        return each
    together = _number(environ, "SLURM_CPUS_ON_NODE")
    return max(1, together // tasks) if together else None


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name, "")
    return int(value) if value.isdecimal() else 0


def _first(environ: Mapping[str, str], name: str) -> int:
    """The first number of Slurm's ``4(x2),3``."""
    digits = environ.get(name, "").split(",")[0].split("(")[0]
    return int(digits) if digits.isdecimal() else 0


def _quota(root: Path) -> int | None:
    """Whole cores that this process' control groups leave it; None without a limit."""
    limits = [cores for folder in _groups(root) if (cores := _limit(folder)) is not None]
    return max(1, math.floor(min(limits))) if limits else None


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the process' own groups and of all groups above them, versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        if number == "0":
            mount = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):
            mount = root / "sys/fs/cgroup" / controllers
            mount = mount if mount.is_dir() else root / "sys/fs/cgroup/cpu"
        else:
            continue
        inside = PurePosixPath(group.lstrip("/"))
        # in a container the group's own path may not be visible: then the mount is its folder
        yield from (mount / part for part in (inside, *inside.parents))


def _limit(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such file
        return None
