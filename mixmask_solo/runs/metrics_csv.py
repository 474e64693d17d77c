# SPDX-License-Identifier: MIT
"""``metrics.csv``: one file a run, however often the run was interrupted."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from mixmask_solo.config.files import replacing
from mixmask_solo.records.registry.record import METRICS

_FIRST = ("step", "epoch")

Row = dict[str, str]


class MetricsCSV(Logger):
    """Appends a row whenever something is logged, and has it in the file at once.

    Lightning's own logger keeps a hundred steps in memory, which a killed run loses, and begins a
    new file when a run is resumed. This one goes on in the file of the run's ``directory``: rows
    from ``first_step`` on, which the checkpoint does not know, are dropped, since the resumed run
    writes them again.
    """

    name = "csv"
    version = ""  # there is one file

    def __init__(self, directory: Path, first_step: int = 0) -> None:
        super().__init__()
        self.path = directory / METRICS
        self.first_step = first_step
        self._columns: list[str] | None = None
        self._last: Row = {}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """They are in ``args.json``."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends a row; the very row that was written last is not written twice."""
        row = {"step": str(step), **{name: str(value) for name, value in metrics.items()}}
        if self._columns is None:
            self._columns = self._begin()
        if row == self._last:
            return
        new = row.keys() - set(self._columns)
        if new:
            rows = _read(self.path)
            self._columns += sorted(new)
            _write(self.path, self._columns, [*rows, row])
        else:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        self._last = row

    def _begin(self) -> list[str]:
        """Drops what the checkpoint does not know, and returns the columns of the rest."""
        known = range(self.first_step)
        rows = [r for r in _read(self.path) if r["step"].isdecimal() and int(r["step"]) in known]
        if not rows:
            self.path.unlink(missing_ok=True)
            return list(_FIRST)
        columns = [name for name in rows[0] if name in _FIRST or any(row[name] for row in rows)]
        self._last = {name: cell for name, cell in rows[-1].items() if cell}
        _write(self.path, columns, rows)
        return columns


def _read(path: Path) -> list[Row]:
    """Whole rows; one that was being written when the process was killed is left out."""
    text = path.read_text() if path.is_file() else ""
    whole = text[: text.rfind("\n") + 1]
    rows = csv.DictReader(whole.splitlines())
    return [row for row in rows if None not in row and None not in row.values()]


def _write(path: Path, columns: list[str], rows: list[Row]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
