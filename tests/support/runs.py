# SPDX-License-Identifier: MIT
"""What a run has left in its folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

__all__ = ["result", "rows", "snapshot"]


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def result(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def rows(folder: str | Path) -> list[dict[str, str]]:
    """Those of its metrics."""
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
