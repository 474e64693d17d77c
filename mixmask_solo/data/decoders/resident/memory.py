# SPDX-License-Identifier: MIT
"""How much memory a data set may take, on a GPU or in the machine."""

from pathlib import Path

import torch

from mixmask_solo.config import ConfigError

_SHARE = 0.5  # of what is free: networks, queues and other processes want some too
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_GROUPS = {  # limit, use, and what of that can be dropped, in both versions of control groups
    "sys/fs/cgroup": ("memory.max", "memory.current", "inactive_file"),
    "sys/fs/cgroup/memory": _V1,
}


def choose_home(
    need: int, what: str, device: torch.device, asked: str, processes: int = 1
) -> torch.device:
    """Where a data set of ``need`` bytes, ``what`` in words, is kept.

    ``asked`` is ``data.resident_on``; ``auto`` is the first of both that has room. Each of the
    training ``processes`` of this machine keeps a data set of its own.

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
    free = [_left(root / folder, *names) for folder, names in _GROUPS.items()]
    free.append(_figures(root / "proc/meminfo", unit=1024).get("MemAvailable:"))
    return min((size for size in free if size is not None), default=None)


def in_words(size: int) -> str:
    """A number of bytes as people say it."""
    for power, unit in enumerate(("bytes", "KiB", "MiB")):
        if size < 1024 ** (power + 1):
            return f"{size / 1024**power:.0f} {unit}"
    return f"{size / 1024**3:.1f} GiB"


def _left(group: Path, limit: str, used: str, droppable: str) -> int | None:
    """What a control group leaves; pages of files that it can drop do not count as used."""
    try:
        top, taken = (int((group / name).read_text()) for name in (limit, used))
    except (OSError, ValueError):  # no such file, or "max"
        return None
    return top - taken + _figures(group / "memory.stat").get(droppable, 0)


def _figures(file: Path, unit: int = 1) -> dict[str, int]:
    """The names and numbers that each line of a file begins with."""
    try:
        pairs = [line.split()[:2] for line in file.read_text().splitlines()]
    except OSError:
        return {}
    found = (pair for pair in pairs if len(pair) == 2 and pair[1].isdecimal())
    return {name: unit * int(number) for name, number in found}
