# SPDX-License-Identifier: MIT
"""The online k-NN of an epoch that goes on under other keys: as undisturbed, or left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config, interrupted

LEFT_OUT = "the online k-NN of this epoch is left out"


def merged(cfg: dict[str, Any], knn: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in knn.items() if key.startswith("check_")}
    block = {key: value for key, value in knn.items() if key not in rest}
    return cfg | rest | {"knn_eval": {"enabled": True, "k": 5} | block}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"features": "projector"}),
        ({}, {"distance_func": "cosine", "bank_dtype": "float16"}),
        ({"enabled": False}, {"enabled": True}),
        ({"check_val_every_n_epoch": 2}, {"check_val_every_n_epoch": 1}),
    ],
)
def test_a_bank_made_under_other_keys_is_not_searched(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    epochs = {"max_epochs": 2}
    saved = interrupted(monkeypatch, config(tmp_path, **merged(epochs, before)), epoch=0, batch=2)
    more = epochs | {"resume_from_checkpoint": str(saved)}
    with caplog.at_level(logging.WARNING):
        done = pretrain(config(tmp_path, **merged(more, after)))
    assert LEFT_OUT in caplog.text
    csv = (Path(done["directory"]) / "metrics.csv").read_text().splitlines()
    column = csv[0].split(",").index("val_knn_acc1")
    values = [row.split(",")[column] for row in csv[1:] if row.split(",")[column]]
    assert values == [str(done["metrics"]["val_knn_acc1"])]  # of the second epoch alone


@pytest.mark.parametrize("k", [5, 3])
def test_the_number_of_neighbours_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """It is no property of the bank: as if it had been that from the start."""
    epochs = {"max_epochs": 1}
    saved = interrupted(monkeypatch, config(tmp_path / "a", **merged(epochs, {})), epoch=0, batch=2)
    more = epochs | {"resume_from_checkpoint": str(saved)}
    done = pretrain(config(tmp_path / "a", **merged(more, {"k": k})))
    whole = pretrain(config(tmp_path / "b", **merged(epochs, {"k": k})))
    assert done["metrics"]["val_knn_acc1"] == whole["metrics"]["val_knn_acc1"]
