# SPDX-License-Identifier: MIT
"""A run's ``metrics.csv``, read."""

import csv
from pathlib import Path

Series = dict[int, float]  # step -> value


def read_metrics(file: Path) -> dict[str, Series]:
    """Every column as step -> value; empty cells are skipped, the last one of a step counts."""
    columns: dict[str, Series] = {}
    with file.open(newline="") as stream:
        for row in csv.DictReader(stream):
            step = int(float(row["step"]))
            for name, cell in row.items():
                if name not in ("step", "epoch") and cell:
                    columns.setdefault(name, {})[step] = float(cell)
    return {name: dict(sorted(series.items())) for name, series in columns.items()}
