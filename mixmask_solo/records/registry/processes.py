# SPDX-License-Identifier: MIT
"""Processes of this machine by their numbers."""

import os
import re
import subprocess
import time
from pathlib import Path

_SINCE = re.compile(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)")  # of ps: days-hours:minutes:seconds


def process_exists(pid: int) -> bool:
    """Whether there is one of that number, which may be another than was meant."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # another user's
    return True


def process_began(pid: int) -> float | None:
    """When it began, in seconds since 1970; None where the machine does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        up = time.clock_gettime(time.CLOCK_BOOTTIME)
        return time.time() - (up - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError, IndexError):
        return _began_by_ps(pid)


def _began_by_ps(pid: int) -> float | None:
    try:
        told = subprocess.run(
            ["ps", "-o", "etime=", "-p", str(pid)], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _SINCE.fullmatch(told.stdout.strip())
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return time.time() - (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
