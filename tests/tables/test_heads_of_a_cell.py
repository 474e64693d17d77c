# SPDX-License-Identifier: MIT
"""A cell whose probe trains several heads has the figure of the one that was chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.tables.find import choose, find_table
from mixmask_solo.tables.schema import Cell, Sheet
from mixmask_solo.tables.training import Training
from support.tables import Folder

Plan = Callable[..., list[Training]]
LISTS = ("optimizer.lr=[1e-2,0.1]", "++probe.normalize=[false,true]")


def listed(cell: Cell, *more: str) -> Cell:
    """The cell with a probe of four heads."""
    own = replace(cell.protocol, overrides=[*cell.protocol.overrides, *LISTS, *more])
    return replace(cell, protocol=own)


def linear(sheet: Sheet) -> Cell:
    return next(c for c in sheet.cells if c.column == "linear" and c.row == "nothing")


def test_the_chosen_heads_figure_is_the_cells(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    [training] = plan(cells=[listed(linear(sheet))])
    [evaluation] = training.evaluations
    assert evaluation.identity is not None
    assert evaluation.identity["probe"]["holdout"] == 0.1
    run = folder.run(training, 0)
    heads: list[dict[str, Any]] = [{"val_acc1": 99.0}, {"val_acc1": 97.5}]
    folder.probe(training, run, 97.5, heads=heads, chosen={"head": 1})
    [found] = folder.runs.of(training)
    assert [*found.values.values()] == [97.5]
    [plain] = plan(cells=[linear(sheet)])
    assert not folder.runs.of(plain)[0].values  # a single probe is another protocol


def test_a_cell_needs_a_head_that_counts(sheet: Sheet, plan: Plan) -> None:
    cell = linear(sheet)
    with pytest.raises(ConfigError, match=r"optimizer\.lr is a list and probe\.holdout is null"):
        plan(cells=[listed(cell, "++probe.holdout=null")])


def test_a_single_probe_is_recorded_as_before(sheet: Sheet, plan: Plan) -> None:
    [training] = plan(cells=[linear(sheet)])
    [evaluation] = training.evaluations
    assert evaluation.identity is not None
    assert evaluation.identity["probe"] == {"features": "cached", "init": "default"}


def test_images_held_out_are_images_of_the_data_set(plan: Plan, folder: Folder) -> None:
    cells = choose(find_table("table5"), rows=["nothing"], columns=["C-100 BYOL"])
    [training] = plan(cells=[listed(cell) for cell in cells])
    run = folder.run(training, 0)
    split = {"train": {"images": 45_000}, "holdout": {"images": 5_000}, "val": {"images": 10_000}}
    probe = folder.probe(training, run, 70.0, data=split)
    assert [*folder.runs.of(training)[0].values.values()] == [70.0]
    lost = folder.probe(training, run, 71.0, data={**split, "holdout": {"images": 500}})
    runs = folder.runs
    assert [*runs.of(training)[0].values.values()] == [70.0]
    assert runs.left_out == {lost: "45,500 training images, not the 50,000 of cifar100"}
    assert probe not in runs.left_out
