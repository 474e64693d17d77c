# SPDX-License-Identifier: MIT
"""A run's ``metrics.csv``, read."""

import csv
from pathlib import Path

from mixmask_solo.config import ConfigError

Series = dict[int, float]  # step -> value


def read_metrics(file: Path) -> dict[str, Series]:
    """Every column as step -> value; empty cells are skipped, the last one of a step counts.

    A last row without its end, which is being written, does not count yet.

    Raises:
        OSError: where it cannot be read.
        ConfigError: where it is damaged, naming it.
    """
    try:
        return _columns(file.read_text("utf-8"))
    except (ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read: {type(error).__name__} {error}") from None


def _columns(text: str) -> dict[str, Series]:
    columns: dict[str, Series] = {}
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        step = int(float(row["step"]))
        for name, cell in row.items():
            if name not in ("step", "epoch") and cell:
                columns.setdefault(name, {})[step] = float(cell)
    return {name: dict(sorted(series.items())) for name, series in columns.items()}
