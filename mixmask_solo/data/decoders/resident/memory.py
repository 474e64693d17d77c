# SPDX-License-Identifier: MIT
"""How much memory a data set may take, on a GPU or in the machine."""

from __future__ import annotations

from pathlib import Path

import torch

from mixmask_solo.config import ConfigError

__all__ = ["choose_home", "free_memory", "in_words"]

_SHARE = 0.5  # of what is free: networks, queues and other processes want some too


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
    """Free bytes: of a GPU, or what the machine and its control group leave this process.

    Args:
        device: a CPU or GPU.
        root: of the file system, where the machine's figures are looked for.

    Returns:
        None where nothing tells.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type != "cpu":
        return None
    free = [value for value in (_available(root), _group(root)) if value is not None]
    return min(free) if free else None


def in_words(size: int) -> str:
    """A number of bytes as people say it."""
    for power, unit in enumerate(("bytes", "KiB", "MiB")):
        if size < 1024 ** (power + 1):
            return f"{size / 1024**power:.0f} {unit}"
    return f"{size / 1024**3:.1f} GiB"


def _available(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(kilobytes[0]) if kilobytes else None


def _group(root: Path) -> int | None:
    """What the control group leaves; pages of files that it can drop do not count as used."""
    for folder, limit, used, droppable in (
        ("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        (
            "sys/fs/cgroup/memory",
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        try:
            top = int((root / folder / limit).read_text())
            taken = int((root / folder / used).read_text())
            lines = (root / folder / "memory.stat").read_text().split()
        except (OSError, ValueError):  # no such file, or "max"
            continue
        counts = dict(zip(lines[::2], lines[1::2], strict=False))
        return top - taken + int(counts.get(droppable, 0))
    return None
