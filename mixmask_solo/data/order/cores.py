# SPDX-License-Identifier: MIT
"""How many processor cores a training process may use: not how many the machine has.

Starting a worker a core of the machine makes them fight over a batch job's share. joblib knows the
affinity mask and a container's quota of processor time; Slurm may tell by its variables alone.
"""

import os
import re
from collections.abc import Mapping
from typing import Literal

import torch


def core_share(processes: int = 1, environ: Mapping[str, str] = os.environ) -> int:
    """Cores for one training process, at least 1; those of this machine share evenly."""
    import joblib  # takes a tenth of a second

    cores = joblib.cpu_count()
    even = max(1, cores // processes)
    if "SLURM_JOB_ID" not in environ:
        return even
    tasks = _number(environ, "SLURM_NTASKS_PER_NODE") or _number(environ, "SLURM_TASKS_PER_NODE")
    tasks = max(1, tasks)
    granted = _number(environ, "SLURM_CPUS_PER_TASK")
    granted = granted or _number(environ, "SLURM_CPUS_ON_NODE") // tasks
    # each training process is a Slurm task, or all of them were started by the only task
    beside = max(1, processes // tasks)
    if granted and cores <= granted:  # the task is confined to its own cores already
        return max(1, cores // beside)
    return max(1, min(granted // beside, even)) if granted else even


def worker_count(setting: int | Literal["auto"], processes: int = 1) -> int:
    """The number of worker processes of one loader, as ``data.num_workers`` sets it.

    ``auto`` is :func:`core_share`; training on the CPU keeps three quarters of that for itself.
    """
    if setting != "auto":
        return setting
    share = core_share(processes)
    return share if torch.cuda.is_available() else share // 4


def _number(environ: Mapping[str, str], name: str) -> int:
    """The first number of a variable, which may be ``4(x2),3``; 0 without one."""
    found = re.match(r"\d+", environ.get(name, ""))
    return int(found[0]) if found else 0
