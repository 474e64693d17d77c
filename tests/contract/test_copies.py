# SPDX-License-Identifier: MIT
"""Methods pickle and copy, before and after they were trained, and go to another process."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods

PER_SAMPLE = {"mask_type": "discrete", "ratio": [0.3, 0.7], "per_sample": True, "prob": 0.9}
BLOCKS: dict[str, dict[str, Any]] = {
    "none": {},
    "mixmask": {"mixmask": {"grid_size": 4}},
    "mixmask, per sample": {"mixmask": {"grid_size": 4, "partner": "random", **PER_SAMPLE}},
    "unmix": {"unmix": {"prob": 0.5}},
    "erase": {"erase": {"grid_size": 4, "fill": "noise", **PER_SAMPLE}},
    "different": {"mixmask": {"grid_size": 4}, "unmix": {}, "permutations": "different"},
    "same": {"mixmask": {"grid_size": 4}, "unmix": {}, "permutations": "same"},
}
NARROW = {"name": "resnet10t", "kwargs": {"channels": [8, 8, 16, 16]}}
HEADS = {"simclr": "htdt", "simsiam": "patrickhua"}
Build = Callable[..., Any]


@pytest.fixture
def build(host: Host, method: str, make_cfg: Callable[..., DictConfig]) -> Build:
    """``build(kwargs)``: the method with further ``method_kwargs``."""

    def make(kwargs: dict[str, Any]) -> Any:
        torch.manual_seed(0)
        changes = {f"method_kwargs.{key}": value for key, value in kwargs.items()}
        changes["knn_eval.enabled"] = True
        if method.startswith("moco"):
            changes["method_kwargs.queue_size"] = 64
        if host.name == "builtin":  # solo-learn has no small network
            changes["backbone"] = NARROW
        return get_methods(host.name)[method](make_cfg(method, **changes))

    return make


def train(model: Any, batch: list[Any]) -> None:
    """One step, as a run makes it."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05)
    model.training_step(batch, 0).backward()
    optimizer.step()
    optimizer.zero_grad()


def loss(model: Any, batch: list[Any]) -> Tensor:
    value: Tensor = model.training_step(batch, 1).detach()
    return value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", BLOCKS)
def test_a_copy_goes_on_as_the_method_does(
    block: str,
    host: Host,
    method: str,
    build: Build,
    batch: list[Any],
    elsewhere: Callable[..., Any],
) -> None:
    model = build({**BLOCKS[block], **({"head": HEADS[method]} if method in HEADS else {})})
    fresh = pickle.dumps(model)
    train(model, batch)
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    far = elsewhere("model.training_step(batch, 1).item()", model=model, batch=batch)
    losses = [loss(m, batch) for m in (model, *copies)]
    assert all(torch.equal(losses[0], other) for other in losses[1:])
    assert far == losses[0].item()
    late = pickle.loads(fresh)
    train(late, batch)
    assert torch.equal(loss(late, batch), losses[0])


@pytest.mark.filterwarnings("ignore")
def test_a_copy_carries_no_masks(host: Host, build: Build, batch: list[Any]) -> None:
    model = build(BLOCKS["mixmask"])
    before = len(pickle.dumps(model))
    train(model, batch)
    masks = model.strategies.mixmask.masks
    assert masks._pools
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not other.strategies.mixmask.masks._pools
    assert masks._pools
    grown = 8 * model.features_dim * len(batch[0]) * 4 + 20_000  # gathered for the k-NN
    assert len(pickle.dumps(model)) < before + grown
