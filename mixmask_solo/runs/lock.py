# SPDX-License-Identifier: MIT
"""One process writes into a run's folder, whoever else would like to."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from filelock import FileLock, Timeout

from mixmask_solo.config import ConfigError
from mixmask_solo.records.files import read_json, write_json
from mixmask_solo.records.result import this_process

__all__ = ["acquire", "is_alive"]

_LOCK = ".lock"
_HOLDER = ".holder.json"
_GRACE = 15.0  # seconds until the workers of a killed process notice, which hold its lock


def acquire(directory: Path) -> FileLock:
    """The lock of a run's folder, which exists; released when the process ends, however it does.

    Raises:
        ConfigError: saying who holds it.
    """
    lock = FileLock(directory / _LOCK)
    holder = read_json(directory / _HOLDER)
    here = holder.get("host") == socket.gethostname()
    try:
        lock.acquire(timeout=_GRACE if here and not is_alive(int(holder["pid"])) else 0)
    except Timeout:
        who = f"process {holder.get('pid', '?')} on {holder.get('host', 'a host that is not told')}"
        raise ConfigError(
            f"run folder '{directory}' is in use by {who}: wait until that run has ended, stop it, "
            "or give this one another name or seed"
        ) from None
    write_json(directory / _HOLDER, this_process())
    return lock


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
