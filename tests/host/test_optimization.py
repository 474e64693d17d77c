# SPDX-License-Identifier: MIT
"""From options to rates: what each schedule's name means, in steps and in epochs."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mixmask_solo.host.builtin.defaults import METHOD, complete
from mixmask_solo.host.builtin.optimization import configure_optimizers, read_options

EPOCHS, STEPS = 10, 40  # four steps an epoch


def module(name: str, exclude: bool = False, **scheduler: Any) -> Any:
    optimizer = {"name": "sgd", "batch_size": 4, "lr": 1.0, "weight_decay": 0.1}
    optimizer["exclude_bias_n_norm_wd"] = exclude
    blocks = {"optimizer": optimizer, "scheduler": {"name": name, **scheduler}}
    made = SimpleNamespace(_trainer=None, trainer=SimpleNamespace(estimated_stepping_batches=STEPS))
    read_options(made, complete(OmegaConf.create({"max_epochs": EPOCHS, **blocks}), METHOD))
    return made


def half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


@pytest.mark.parametrize(
    ("options", "interval", "at", "expected"),
    [
        ({"name": "cosine"}, "step", [0, 20, 40], [1, 0.5, 0]),
        ({"name": "cosine", "interval": "epoch"}, "epoch", [0, 5, 10], [1, 0.5, 0]),
        ({"name": "cosine_from_one"}, "step", [0, 19, 39], [half_cosine(1 / 40), 0.5, 0]),
        ({"name": "warmup_cosine", "warmup_epochs": 2}, "step", [0, 7, 8, 24], [0.1, 1, 1, 0.5]),
        ({"name": "step", "lr_decay_steps": [6, 3]}, "epoch", [2, 3, 6], [1, 0.1, 0.01]),
        (
            {"name": "warmup_step", "lr_decay_steps": [5], "gamma": 0.2, "warmup_epochs": 1},
            *("step", [0, 3, 19, 20], [0.1, 1, 1, 0.2]),
        ),
    ],
)
def test_rates(options: Any, interval: str, at: list[int], expected: list[float]) -> None:
    made = module(**options, warmup_start_lr=0.1)
    _, [entry] = configure_optimizers(made, [{"params": [torch.zeros(1)]}])
    assert entry["interval"] == interval
    schedule = entry["scheduler"].schedule
    assert [schedule.lr(1.0, i) for i in at] == pytest.approx(expected)


def test_without_a_schedule_there_is_only_the_optimiser() -> None:
    groups = [{"params": list(nn.Linear(2, 2).parameters()), "static_lr": True}]
    optimizer = configure_optimizers(module("none", exclude=True), groups)
    assert isinstance(optimizer, torch.optim.SGD)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0]
    assert not any("static_lr" in g for g in optimizer.param_groups)


def test_a_group_of_static_rate_is_told_to_the_schedule() -> None:
    groups = [{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)], "static_lr": True}]
    _, [entry] = configure_optimizers(module("cosine"), groups)
    assert entry["scheduler"].static == (1,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cosin"}, r"^scheduler\.name is 'cosin': choose one of warmup_cosine, cosine,"),
        ({"name": "step", "interval": "day"}, r"^scheduler\.interval is 'day': choose one of step"),
    ],
)
def test_unknown_names(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module(**options)
