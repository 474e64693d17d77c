# SPDX-License-Identifier: MIT
"""``mixmask-tables plan``: runs, hours and disk of a table before it is run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mixmask_solo.cli.compose import compose
from mixmask_solo.cli.table_asked import Asked, left_out, planned, runs_of
from mixmask_solo.config import ConfigError
from mixmask_solo.report import columns
from mixmask_solo.tables.cost import Cost, checkpoint_bytes, cost
from mixmask_solo.tables.missing import Missing, missing
from mixmask_solo.tables.scale import RULES
from mixmask_solo.tables.training import Training, as_typed, in_common

_LEGEND = (
    "GPU time: ~ an estimate from the recipe's head, without ~ measured, ? neither; training "
    "alone, and without what overrides add"
)


@dataclass(frozen=True)
class _Row:
    """A run of the plan."""

    training: Training
    state: str  # train, measure, done
    cost: Cost
    bytes: int


def plan(asked: Asked) -> int:
    """Prints runs, cost and disk; with ``--commands`` what is missing, for a shell."""
    wrong: dict[str, str] = {}
    chosen, runs = planned(asked, wrong=wrong), runs_of(asked)
    if wrong and not chosen and asked.args.overrides:
        cell, reason = next(iter(wrong.items()))
        raise ConfigError(f"with these overrides no cell can be made: {cell}: {reason}")
    left = missing(chosen, runs)
    if asked.args.commands:
        _print_commands(left, asked.args.runs)
        return 0
    states = {id(m.training): "measure" if m.trained else "train" for m in left}
    sizes: dict[int, int] = {}  # seeds share an identity
    for training in chosen:
        same = training.identity
        if id(same) not in sizes:
            sizes[id(same)] = checkpoint_bytes(OmegaConf.create(same))
    rows = [
        _Row(
            training,
            states.get(id(training), "done"),
            cost(training, runs.of(training), _recipe_epochs(training.recipe)),
            sizes[id(training.identity)],
        )
        for training in chosen
    ]
    skipped = left_out(asked, wrong)
    if asked.args.json:
        print(json.dumps(_as_json(asked, rows, skipped), indent=2))
        return 0
    scale = asked.args.scale
    print(asked.sheet.table.title + ("" if scale == 1 else f", at scale {scale:g}: a rehearsal"))
    if scale != 1:
        print(RULES)
    common = in_common(chosen)
    if common:
        print(f"every run with {' '.join(common)}")
    head = ("run", "cells", "state", "GPU time", "disk")
    print(columns([head, *(_cells(row, common) for row in rows)], right=(3, 4)))
    print(*[_total(rows), _LEGEND, *skipped], sep="\n")
    return 0


def _print_commands(left: Sequence[Missing], folder: Path) -> None:
    for entry in left:
        if not entry.trained:
            print(as_typed(entry.training.command(folder)))
        paths = entry.paths if entry.run is not None else ("RUN/last.ckpt", "RUN")
        for evaluation in entry.evaluations:
            print(as_typed(evaluation.command(folder, *paths)))


def _total(rows: Sequence[_Row]) -> str:
    train = [row for row in rows if row.state == "train"]
    told = [f"{len(train)} of {len(rows)} runs to train"]
    for kind in ("GPU", "CPU"):
        hours = [r.cost.hours for r in train if r.cost.kind == kind and r.cost.hours is not None]
        about = "~" * any(not r.cost.measured for r in train if r.cost.kind == kind)
        told += [f"{about}{_time(sum(hours))} of a {kind}"] if hours else []
    if unknown := sum(row.cost.hours is None for row in train):
        told.append(f"{unknown} of unknown cost")
    return ", ".join([*told, f"{_size(sum(row.bytes for row in train))} of checkpoints"])


@cache
def _recipe_epochs(recipe: Path) -> int:
    return int(compose(str(recipe.parent), recipe.name).max_epochs)


def _cells(row: _Row, common: Sequence[str]) -> list[str]:
    hours = "?"
    if row.cost.hours is not None:
        kind = " CPU" * (row.cost.kind == "CPU")
        hours = f"{'~' * (not row.cost.measured)}{_time(row.cost.hours)}{kind}"
    first, *more = (f"{cell.row}, {cell.column}" for cell in row.training.cells)
    cells = f"{first} and {len(more)} more" if more else first
    return [row.training.labelled(common), cells, row.state, hours, _size(row.bytes)]


def _time(hours: float) -> str:
    """To two figures or so, in a unit that suits."""
    if hours >= 1:
        return f"{hours:,.0f} h" if hours >= 10 else f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"


def _size(bytes_: int) -> str:
    return f"{bytes_ / 1e9:.1f} GB" if bytes_ >= 1e9 else f"{bytes_ / 1e6:.0f} MB"


def _as_json(asked: Asked, rows: Sequence[_Row], skipped: Sequence[str]) -> dict[str, Any]:
    runs = [
        {
            "command": as_typed(row.training.command(asked.args.runs)),
            "seed": row.training.seed,
            "cells": [cell.id for cell in row.training.cells],
            "state": row.state,
            "hours": row.cost.hours,
            "device": row.cost.kind,
            "measured": row.cost.measured,
            "bytes": row.bytes,
        }
        for row in rows
    ]
    told = {"table": asked.sheet.name, "scale": asked.args.scale, "runs": runs}
    return {**told, "left_out": list(skipped)}
