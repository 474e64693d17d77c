# SPDX-License-Identifier: MIT
"""The heads of a probe for people: a table, a line, the card of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.report.heads_table import chosen_head, heads_table, of_one_head
from mixmask_solo.report.run_card import card

HEADS: list[dict[str, Any]] = [
    {"lr": 0.1, "weight_decay": 0.0, "normalize": False, "holdout_acc1": 70.0, "val_acc1": 99.0},
    {"lr": 1.0, "weight_decay": 1e-6, "normalize": True, "holdout_acc1": 80.0, "val_acc1": 77.25},
    {"lr": 1e9, "weight_decay": 0.0, "normalize": True, "diverged": True},
]
RESULT: dict[str, Any] = {
    "status": "completed",
    "heads": HEADS,
    "chosen": {"head": 1, **HEADS[1], "holdout_images": 1450},
    "metrics": {"val_acc1": 77.25, "head_0_val_acc1": 99.0},
    "config": {"max_epochs": 3},
}
TABLE = """\
             lr  weight decay  normalize  held-out top-1     top-1
  head 0    0.1             0      false           70.00     99.00
* head 1      1         1e-06       true           80.00     77.25
  head 2  1e+09             0       true        diverged  diverged"""


def test_a_line_a_head() -> None:
    assert heads_table(RESULT) == TABLE
    assert heads_table({"metrics": {}}) == ""


def test_the_head_that_counts_in_words() -> None:
    told = (
        "lr 1, weight decay 1e-06, unit length: best of 3 heads on 1,450 held-out training images"
    )
    assert chosen_head(RESULT) == told
    none = {**RESULT, "chosen": None}
    assert chosen_head(none) == "3 heads, none chosen (no images are held out)"
    assert "*" not in heads_table(none)
    assert chosen_head({}) == ""


def test_a_runs_card_has_the_table_in_place_of_a_metric_for_each(tmp_path: Path) -> None:
    text = card(RunRecord(tmp_path, RESULT))
    assert TABLE in text
    assert chosen_head(RESULT) in text
    assert "head_0_val_acc1" not in text
    assert of_one_head("head_12_holdout_acc1")
    assert not of_one_head("val_acc1")
