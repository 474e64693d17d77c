# SPDX-License-Identifier: MIT
"""An epoch that goes on has the figures of the whole; what cannot be had is left out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.records.checkpoints import AtomicCheckpointIO
from mixmask_solo.runs import epoch_state
from mixmask_solo.runs.pretrain import pretrain
from support.runs import rows
from support.tiny import config, crash_at, interrupted

MEASURED = {"knn_eval": {"enabled": True, "k": 5}, "log_every_n_steps": 1}
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


def test_interrupted_twice_in_one_epoch_its_figures_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **MEASURED)
    for batch in (1, 1, 2):  # once more at the very batch it goes on with
        interrupted(monkeypatch, cfg, epoch=2, batch=batch)
    done = pretrain(cfg)
    assert [p["steps"] for p in done["pieces"]] == [7, 0, 1, 1]
    assert done["metrics"] == straight["metrics"]
    assert rows(done["directory"]) == rows(straight["directory"])


def test_features_that_were_not_saved_make_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **MEASURED)
    monkeypatch.setattr(epoch_state, "_LIMIT", 0)
    for batch in (1, 2):
        interrupted(monkeypatch, cfg, epoch=1, batch=batch)
    interrupted(monkeypatch, cfg, epoch=2, batch=0)
    done = pretrain(cfg)
    assert "k-NN of this epoch is left out" in caplog.text
    found = [bool(r["val_knn_acc1"]) for r in rows(done["directory"]) if r["val_acc1"]]
    assert found == [True, False, True]
    assert done["metrics"] == straight["metrics"]


@pytest.mark.parametrize("watched", [True, False])
def test_a_checkpoint_of_mid_epoch_without_its_figures_goes_on(
    watched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knn = {"knn_eval": {"enabled": watched, "k": 5}}
    saved = interrupted(monkeypatch, config(tmp_path, **knn), epoch=1, batch=1)
    content = torch.load(saved, weights_only=True)
    del content["mixmask_solo_epoch"]  # as an older version wrote it
    AtomicCheckpointIO().save_checkpoint(content, saved)
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(saved), **knn))
    assert done["steps"] == 9
    assert ("val_knn_acc1" in done["metrics"]) is watched  # of the last epoch, which is whole


def test_a_rare_validation_searches_in_its_own_epochs_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = {"check_val_every_n_epoch": 2, "max_epochs": 2, **MEASURED}
    straight = pretrain(config(tmp_path / "straight", **rare))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **rare)
    with monkeypatch.context() as patch:
        crash_at(patch, 1, 1)
        with pytest.raises(RuntimeError):
            pretrain(cfg)
    assert pretrain(cfg)["metrics"] == straight["metrics"]


def test_a_step_has_only_what_it_measured(tmp_path: Path) -> None:
    now_and_then = {"mixmask": {"prob": 0.5, "grid_size": 2}}
    done = pretrain(config(tmp_path, method_kwargs=now_and_then, log_every_n_steps=1))
    steps = [r for r in rows(done["directory"]) if r["train_nce_loss_step"]]
    assert len(steps) == 9
    mixed = [r["train_mixmask_loss_step"] for r in steps]
    assert 0 < sum(map(bool, mixed)) < 9
    assert len({m for m in mixed if m}) == sum(map(bool, mixed))  # none told twice
    assert [bool(r["train_embedding_std_step"]) for r in steps] == [True, False, False] * 3
