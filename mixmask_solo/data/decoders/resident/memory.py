# SPDX-License-Identifier: MIT
"""How much memory a data set may take, on a GPU or in the machine."""

from __future__ import annotations

from pathlib import Path

import torch

from mixmask_solo.config import ConfigError

__all__ = ["choose_home", "free_memory", "in_words"]

_SHARE = 0.5  # of what is free: networks, queues and other processes want some too
_AVAILABLE = "MemAvailable:"
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_GROUPS = (
    ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    ("sys/fs/cgroup/memory", *_V1),
)


def choose_home(
    need: int, what: str, device: torch.device, asked: str, processes: int = 1
) -> torch.device:
    """Where a data set is kept.

    Args:
        need: bytes.
        what: the data set in words, for the message.
        device: where training runs.
        asked: ``data.resident_on``: ``device``, ``host``, or ``auto`` for the first that has room.
        processes: training processes on this machine, each of which keeps a data set of its own.

    Raises:
        ConfigError: where it does not fit, naming the sizes.
    """
    host = torch.device("cpu")
    homes = {"device": [device], "host": [host], "auto": [device, host]}[asked]
    short = []
    for home in dict.fromkeys(homes):
        copies = processes if home.type == "cpu" else 1
        free = free_memory(home)
        if free is None or need * copies <= _SHARE * free:
            return home
        many = f"{copies} times " if copies > 1 else ""
        short.append(f"{many}{in_words(need)} are needed and {in_words(free)} free on {home}")
    raise ConfigError(
        f"data.format is resident, but {what} do not fit into half of the free memory: "
        f"{'; '.join(short)}. Set data.format=dali, or to how they are stored"
    )


def free_memory(device: torch.device, root: Path = Path("/")) -> int | None:
    """Free bytes of a GPU, or what the machine and its control group leave this process.

    None where nothing under ``root`` tells.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    free = [left for group in _GROUPS if (left := _left(root, *group)) is not None]
    free += [1024 * n for name, n in _figures(root / "proc/meminfo").items() if name == _AVAILABLE]
    return min(free, default=None)


def in_words(size: int) -> str:
    """A number of bytes as people say it."""
    for power, unit in enumerate(("bytes", "KiB", "MiB")):
        if size < 1024 ** (power + 1):
            return f"{size / 1024**power:.0f} {unit}"
    return f"{size / 1024**3:.1f} GiB"


def _left(root: Path, folder: str, limit: str, used: str, droppable: str) -> int | None:
    """What a control group leaves; pages of files that it can drop do not count as used."""
    try:
        top, taken = (int((root / folder / name).read_text()) for name in (limit, used))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return top - taken + _figures(root / folder / "memory.stat").get(droppable, 0)


def _figures(file: Path) -> dict[str, int]:
    """The names and numbers that each line of a file begins with."""
    try:
        pairs = [line.split()[:2] for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
