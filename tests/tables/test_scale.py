# SPDX-License-Identifier: MIT
"""A rehearsal shrinks epochs, images, batch, queue and schedule by stated rules."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.tables.scale import scaled

CONFIG: dict[str, Any] = {
    "max_epochs": 1000,
    "data": {"fraction": -1.0},
    "optimizer": {"batch_size": 512},
    "scheduler": {
        "name": "warmup_step",
        "interval": "step",
        "warmup_epochs": 10.0,
        "lr_decay_steps": [950, 975],
    },
    "method_kwargs": {"queue_size": 4096, "bn_splits": 8},
}


def overrides(share: float, **more: Any) -> dict[str, Any]:
    words = scaled({**CONFIG, **more}, share)
    return {w.lstrip("+").partition("=")[0]: yaml.safe_load(w.partition("=")[2]) for w in words}


def test_the_rules_at_a_tenth() -> None:
    assert overrides(0.1) == {
        "max_epochs": 100,
        "data.fraction": 0.1,
        "optimizer.batch_size": 128,  # 512 x 0.316 = 162, the power of two below
        "scheduler.warmup_epochs": 1.0,
        "scheduler.lr_decay_steps": [95, 98],
        "method_kwargs.queue_size": 512,  # 410, to a multiple of 256
        "method_kwargs.bn_splits": 8,
    }


def test_nothing_changes_at_full_scale() -> None:
    assert scaled(CONFIG, 1) == []


def test_a_share_of_a_share_and_the_batch_of_all_processes() -> None:
    assert overrides(0.5, data={"fraction": 0.5})["data.fraction"] == 0.25
    words = scaled({**CONFIG, "optimizer": {"batch_size": 64}}, 0.25, 4)
    assert "++optimizer.batch_size=128" in words  # half of 256


def test_a_schedule_whose_last_epoch_has_no_rate_keeps_two() -> None:
    scheduler = {"name": "cosine_from_one", "interval": "epoch"}
    assert overrides(0.0005, scheduler=scheduler)["max_epochs"] == 2
    assert overrides(0.0005)["max_epochs"] == 1


def test_a_validation_comes_before_the_end() -> None:
    assert overrides(0.002, check_val_every_n_epoch=5)["check_val_every_n_epoch"] == 2


@given(st.floats(0.0005, 0.999))
def test_what_comes_out_can_be_trained(share: float) -> None:
    found = overrides(share)
    batch, queue = found["optimizer.batch_size"], found["method_kwargs.queue_size"]
    splits = found["method_kwargs.bn_splits"]
    assert found["max_epochs"] >= 1
    assert 0 < found["data.fraction"] <= 1
    assert batch >= 8
    assert queue % (2 * batch) == 0
    assert queue > 0
    assert batch % splits == 0
    assert batch // splits >= 8
    assert max(found["scheduler.lr_decay_steps"]) <= max(1, found["max_epochs"] - 1)
    assert found["scheduler.warmup_epochs"] == pytest.approx(found["max_epochs"] / 100, rel=1e-5)
