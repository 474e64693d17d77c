# SPDX-License-Identifier: MIT
"""The minutes in the recipes' heads are those that benchmarks/laptop_lines.py measured."""

from __future__ import annotations

import json
import math
from pathlib import Path

from mixmask_solo.tables.head import head_of

ROOT = Path(__file__).parents[2]
MEASURED = json.loads((ROOT / "benchmarks" / "results" / "laptop-lines.json").read_text())["rows"]
LINES = {
    str(file.relative_to(ROOT)): " ".join(line.split())
    for kind in ("pretrain", "linear", "finetune")
    for file in sorted((ROOT / "scripts" / kind).glob("*/*.yaml"))
    if "the same with" in (line := head_of(file).get("Laptop", ""))
}


def test_every_laptop_line_was_run_and_ended_in_ten_minutes() -> None:
    assert {row["file"] for row in MEASURED} == LINES.keys()
    assert all(row["status"] == 0 and row["seconds"] < 600 for row in MEASURED)


def test_a_head_tells_its_minutes() -> None:
    for row in MEASURED:
        minutes = math.ceil(row["seconds"] / 60)
        assert LINES[row["file"]].endswith(f" ({minutes} min)"), row["file"]
