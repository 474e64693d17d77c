# SPDX-License-Identifier: MIT
"""Paper and ours, cell by cell."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mixmask_solo.tables.match import Found, Runs
from mixmask_solo.tables.schema import Cell
from mixmask_solo.tables.statistics import Summary, summary
from mixmask_solo.tables.training import Training


@dataclass(frozen=True)
class Line:
    """One cell: its published figure and that of all runs that are it, one a seed."""

    cell: Cell
    ours: Summary | None
    values: dict[Any, float]  # by seed
    states: dict[str, int]  # how many runs are in which state
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> float | None:
        return self.ours.difference(self.cell.figure.value) if self.ours else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return self.ours.interval(self.cell.figure.value) if self.ours else None


def lines(
    cells: Sequence[Cell],
    trainings: Sequence[Training],
    runs: Runs,
    wrong: Mapping[str, str] | None = None,
) -> list[Line]:
    """A line for each cell, in their order.

    ``trainings``: of these cells, one seed of each suffices: runs of all seeds are taken.
    ``wrong``: why others have none, by cell.
    """
    wrong = wrong or {}
    matched: dict[str, list[Found]] = {}
    for training in trainings:
        if any(cell.id in matched for cell in training.cells):
            continue  # of another seed
        found = runs.of(training)
        matched.update(dict.fromkeys((cell.id for cell in training.cells), found))
    return [_line(cell, matched.get(cell.id, []), wrong.get(cell.id, "")) for cell in cells]


def _line(cell: Cell, found: list[Found], wrong: str) -> Line:
    measured = {run.record.result.get("seed"): run for run in found if cell.id in run.values}
    values = {seed: run.values[cell.id] for seed, run in measured.items()}
    states = Counter("measured" if cell.id in run.values else _state(run) for run in found)
    notes = _notes(wrong, measured)
    return Line(cell, summary(list(values.values())), values, dict(states), notes)


def _state(run: Found) -> str:
    state = run.record.state()
    return "trained" if state == "completed" else state


def _notes(reason: str, measured: dict[Any, Found]) -> tuple[str, ...]:
    """What has to be known of these runs to compare them."""
    notes = [reason] if reason else []
    keys: dict[str, set[str]] = {}
    for run in measured.values():
        for found in run.alike:
            keys.setdefault(found.key, set()).add(str(found.new))
    notes += [f"{key} {' and '.join(sorted(values))}" for key, values in sorted(keys.items())]
    return tuple(notes)
