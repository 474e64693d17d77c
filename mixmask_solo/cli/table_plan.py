# SPDX-License-Identifier: MIT
"""``mixmask-tables plan``: runs, GPU hours and disk of a table before it is run."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mixmask_solo.cli.compose import compose
from mixmask_solo.cli.table_asked import left_out, planned, runs_of
from mixmask_solo.report import columns
from mixmask_solo.tables import cost
from mixmask_solo.tables.missing import missing
from mixmask_solo.tables.scale import RULES
from mixmask_solo.tables.work import Training, as_typed

_LEGEND = (
    "GPU h: ~ an estimate from the recipe's head, without ~ measured; training alone, and without "
    "what overrides add"
)


def plan(asked: Any) -> int:
    """Prints runs, cost and disk."""
    wrong: dict[str, str] = {}
    chosen, runs = planned(asked, wrong=wrong), runs_of(asked)
    left = missing(chosen, runs)
    if asked.args.commands:
        for m in left:
            if not m.trained:
                print(as_typed(m.training.command(asked.args.runs)))
            paths = m.paths if m.run is not None else ("RUN/last.ckpt", "RUN")
            for evaluation in m.evaluations:
                print(as_typed(evaluation.command(asked.args.runs, *paths)))
        return 0
    open_ = {id(entry.training): entry for entry in left}
    rows, total, size, unknown = [], 0.0, 0, 0
    for training in chosen:
        entry = open_.get(id(training))
        state = "done" if entry is None else "measure" if entry.trained else "train"
        spent = cost.hours(training, runs.of(training), _epochs(training))
        bytes_ = cost.checkpoint_bytes(OmegaConf.create(training.identity))
        if state == "train":
            total, size = total + (spent.hours or 0), size + bytes_
            unknown += spent.hours is None
        rows.append((training, state, spent, bytes_))
    skipped = left_out(asked, wrong)
    if asked.args.json:
        print(json.dumps(_as_json(asked, rows, total, size, skipped), indent=2))
        return 0
    print(asked.sheet.table.title, *_at(asked.args.scale))
    print(columns([("run", "cells", "state", "GPU h", "disk"), *map(_row, rows)], right=(3, 4)))
    count = sum(row[1] == "train" for row in rows)
    hours = f"{_number(total)} GPU h" + (f" and {unknown} runs of unknown cost" if unknown else "")
    print(f"{count} of {len(rows)} runs to train: {hours}, {_size(size)} of checkpoints")
    print(_LEGEND)
    for line in skipped:
        print(line)
    return 0


def _at(scale: float) -> list[str]:
    return [] if scale == 1 else [f"at scale {scale:g}: a rehearsal\n{RULES}"]


@cache
def _recipe_epochs(recipe: Path) -> int:
    return int(compose(str(recipe.parent), recipe.name).max_epochs)


def _epochs(training: Training) -> int:
    return _recipe_epochs(training.recipe)


def _row(row: tuple[Training, str, cost.Cost, int]) -> list[str]:
    training, state, spent, bytes_ = row
    hours = "?" if spent.hours is None else f"{'~' * (not spent.measured)}{_number(spent.hours)}"
    first, *more = (f"{cell.row}, {cell.column}" for cell in training.cells)
    cells = f"{first} and {len(more)} more" if more else first
    return [training.label, cells, state, hours, _size(bytes_)]


def _number(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"


def _as_json(
    asked: Any, rows: Sequence[Any], total: float, size: int, skipped: Sequence[Any]
) -> dict[str, Any]:
    return {
        "table": asked.sheet.name,
        "scale": asked.args.scale,
        "runs": [
            {
                "command": as_typed(training.command(asked.args.runs)),
                "seed": training.seed,
                "cells": [cell.id for cell in training.cells],
                "state": state,
                "gpu_hours": spent.hours,
                "measured": spent.measured,
                "bytes": bytes_,
            }
            for training, state, spent, bytes_ in rows
        ],
        "gpu_hours": total,
        "bytes": size,
        "left_out": list(skipped),
    }
