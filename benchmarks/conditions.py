# SPDX-License-Identifier: MIT
"""What every benchmark writes down about the machine it ran on."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

__all__ = ["conditions", "save", "tell_load"]


def conditions() -> dict[str, Any]:
    """CPU, threads, versions, device, date."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.processor()


def _busy() -> float | None:
    """CPU seconds used so far by everything but this process; None where it cannot be told."""
    try:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return None
    busy = sum(fields) - fields[3] - fields[4]  # without idle and waiting for disks
    return busy / os.sysconf("SC_CLK_TCK") - time.process_time()


@contextmanager
def tell_load(loads: list[float | None]) -> Iterator[None]:
    """Appends how many cores other processes kept busy meanwhile."""
    start, before = time.perf_counter(), _busy()
    yield
    after = _busy()
    if before is None or after is None:
        loads.append(None)
    else:
        loads.append(round(max(0.0, after - before) / (time.perf_counter() - start), 2))


def save(path: Path | None, content: dict[str, Any]) -> None:
    """Writes ``content`` as JSON where a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, default=str) + "\n")
        print(f"saved {path}")
