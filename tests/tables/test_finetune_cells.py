# SPDX-License-Identifier: MIT
"""Cells that fine-tuning measures: planned, found by what they did, refused without a recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.runs import finetune
from mixmask_solo.tables.schema import Sheet, read_table
from mixmask_solo.tables.training import Training
from support.tables import TEXT, Folder

TUNED = "mixmask-finetune, metric: 10 % of labels, recipe: finetune/digits/sgd"
TUNED += ", overrides: [data.fraction=0.1]"
WITH = TEXT.replace("mixmask-linear, metric: linear top-1, recipe: linear/digits/adam", TUNED)
OTHERS = {"mixmask-finetune": finetune.resolve_unread}


@pytest.fixture
def tuned(tmp_path: Path) -> Sheet:
    assert WITH != TEXT
    (tmp_path / "tuned.yaml").write_text(WITH)
    return read_table(tmp_path / "tuned.yaml")


def of(training: Training) -> Any:
    return next(e for e in training.evaluations if e.recipe)


def test_a_cell_plans_its_command(plan: Callable[..., list[Training]], tuned: Sheet) -> None:
    command = of(plan(cells=tuned.cells, others=OTHERS)[0]).command(Path("runs"), "a.ckpt", "a")
    assert command[0] == "mixmask-finetune"
    assert command[3:6] == ["--config-name", "sgd", "data.fraction=0.1"]
    assert command[-1] == 'pretrained_feature_extractor="a.ckpt"'


def test_a_rehearsal_takes_a_share_of_the_labels(
    plan: Callable[..., list[Training]], tuned: Sheet
) -> None:
    evaluation = of(plan(cells=tuned.cells, others=OTHERS, scale=0.5)[0])
    assert "++data.fraction=0.05" in evaluation.overrides
    assert "++scheduler.lr_decay_steps=[6,8]" in evaluation.overrides


def test_its_run_fills_the_cell_and_no_other_does(
    plan: Callable[..., list[Training]], tuned: Sheet, folder: Folder
) -> None:
    training = plan(cells=tuned.cells, others=OTHERS)[0]
    start = folder.run(training, 0)
    found = folder.probe(training, start, 91.0, data={"train": {"images": 145, "classes": 10}})
    assert folder.runs.of(training)[0].values == {of(training).cells[0].id: 91.0}
    told = json.loads((found / "result.json").read_text())
    told["config"]["optimizer"]["classifier_lr"] *= 2
    (found / "result.json").write_text(json.dumps(told))
    assert folder.runs.of(training)[0].values == {}


@pytest.mark.parametrize(
    ("labels", "fraction", "images", "counts"),
    [
        ("1percent", -1, 12_811, True),
        ("10percent", -1, 128_116, True),
        ("10percent", -1, 12_811, False),
        ("100percent", -1, 1_281_167, True),
        ("1percent", 0.1, 1_000, True),  # one of each class, rounded class by class
        ("/some/few.txt", -1, 17, True),
    ],
)
def test_how_many_images_a_list_has_is_known(
    labels: str,
    fraction: float,
    images: int,
    counts: bool,
    plan: Callable[..., list[Training]],
    tuned: Sheet,
    folder: Folder,
) -> None:
    training = plan(cells=tuned.cells, others=OTHERS)[0]
    chosen = {"dataset": "imagenet", "labels": labels, "fraction": fraction}
    of(training).identity["data"] |= chosen
    data = {"train": {"images": images, "classes": 1000}, "val": {"images": 50_000}}
    folder.probe(training, folder.run(training, 0), 55.0, data=data)
    assert bool(folder.runs.of(training)[0].values) is counts


def test_a_protocol_without_a_recipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WITH.replace(", recipe: finetune/digits/sgd", ""))
    with pytest.raises(ConfigError, match="recipe is missing: give the fine-tuning's, as finetune"):
        read_table(tmp_path / "wrong.yaml")
