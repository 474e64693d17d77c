# SPDX-License-Identifier: MIT
"""ADIOS' two steps on either host, in the trainer, against the loop written by hand."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import DataLoader

from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.own_steps import OwnOptimizer
from support.adios import NETWORKS, Loop

pytestmark = pytest.mark.filterwarnings("ignore")

_STEPS, _N, _SIZE = 3, 4, 16
# Rates that move the weights in three steps, by much more than what is compared.
_BLOCK = {"slots": 2, "size": _SIZE, "lr": 0.3, "alpha": 0.7, "entropy": 0.3, "norm": "instance"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "simclr": ("simclr", {}),
    "simclr-s": ("simclr", {"single": True, "slots": 3}),
    "byol": ("byol", {}),
    "byol-s": ("byol", {"single": True}),
    "simsiam": ("simsiam", {}),
    "simsiam-s": ("simsiam", {"single": True, "pairing": "query", "both_masked": False}),
    "mocov2plus": ("mocov2plus", {}),
}


def batches(steps: int = _STEPS) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    views = torch.rand(steps, 2, _N, 3, _SIZE, _SIZE, generator=generator, dtype=torch.float64)
    return [[torch.arange(_N), list(x), torch.arange(_N) % 3] for x in views]


def small_network(features: int) -> nn.Module:
    """Two layers in the place of a ResNet's eighteen, which the loop does not look into."""
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.Conv2d(8, features, 3, 2, 1), nn.BatchNorm2d(features), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def inputs_of(network: nn.Module) -> list[torch.Tensor]:
    """What it gets, from now on."""
    seen: list[torch.Tensor] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    return seen


def train(model: Any, data: list[Any], epochs: int = 1, **more: Any) -> None:
    settings = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    settings |= {"enable_progress_bar": False, "limit_val_batches": 0, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, precision="64-true", **settings, **more)
    trainer.fit(model, DataLoader(data, batch_size=None))


Make = Callable[..., Any]


@pytest.fixture
def make(host: Host, make_cfg: Callable[..., DictConfig]) -> Make:
    """``make(method, **options)``: with the block, in double precision."""

    def make(
        method: str, scheduler: str = "none", accumulate: int = 1, epochs: int = 1, **options: Any
    ) -> Any:
        torch.manual_seed(0)
        changes = {"method_kwargs.adios": {**_BLOCK, **options}, "scheduler.name": scheduler}
        cfg = make_cfg(method, **changes)
        cfg.max_epochs, cfg.seed, cfg.accumulate_grad_batches = epochs, 3, accumulate
        model = get_methods(host.name)[method](cfg)
        model.backbone = small_network(model.features_dim)
        if hasattr(model, "momentum_backbone"):
            model.momentum_backbone = deepcopy(model.backbone).requires_grad_(False)
        return model.double()

    return make


@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("case", CASES)
def test_three_batches_of_two_optimisers(case: str, schedule: str, make: Make) -> None:
    method, options = CASES[case]
    model = make(method, schedule=schedule, **options)
    start = {k: v.clone() for k, v in model.named_parameters()}
    loop = Loop(model, lr=0.1, total=_STEPS)
    for i, (_, views, labels) in enumerate(batches()):
        getattr(loop, schedule)((views, labels, i))
    train(model, batches())
    for name in NETWORKS:
        if name in loop.nets:
            mine, hand = getattr(model, name).parameters(), loop.nets[name].parameters()
            torch.testing.assert_close(list(mine), list(hand), rtol=0, atol=1e-7, msg=name)
    occluder = model.strategies["adios"].occluder
    hand = list(loop.occluder.parameters())
    torch.testing.assert_close(list(occluder.parameters()), hand, rtol=0, atol=1e-7)
    moved = [(p - start[k]).abs().max() for k, p in model.named_parameters() if "occluder" in k]
    assert max(moved) > 1e-3
    if hasattr(model, "momentum_backbone"):
        slow = list(loop.slow["backbone"].parameters())
        torch.testing.assert_close(
            list(model.momentum_backbone.parameters()), slow, rtol=0, atol=1e-7
        )
    if loop.queue is not None:
        torch.testing.assert_close(model.queue, loop.queue)


@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_an_un_masked_query_that_no_loss_looks_at_goes_back_through_no_network(
    schedule: str, make: Make
) -> None:
    model = make("mocov2plus", schedule=schedule)
    backwards: list[bool] = []
    model.backbone.register_full_backward_hook(
        lambda _, __, grads: backwards.append(grads[0] is not None)
    )
    train(model, batches(1))
    own = _BLOCK["slots"] if schedule == "alternating" else 0
    assert sum(backwards) == _BLOCK["slots"] + own


def test_accumulated_batches_make_one_step_of_either_optimiser(make: Make) -> None:
    model = make("simclr", accumulate=2)
    loop = Loop(model, lr=0.2, total=2, times=2)
    numbered = [(views, labels, i) for i, (_, views, labels) in enumerate(batches(4))]
    loop.alternating(*numbered[:2])
    loop.alternating(*numbered[2:])
    train(model, batches(4), accumulate_grad_batches=2)
    mine = [*model.backbone.parameters(), *model.strategies["adios"].occluder.parameters()]
    hand = [*loop.nets["backbone"].parameters(), *loop.occluder.parameters()]
    torch.testing.assert_close(mine, hand, rtol=0, atol=1e-7)


def test_the_rate_follows_the_hosts_schedule(make: Make, monkeypatch: Any) -> None:
    used: list[tuple[float, float]] = []
    step = OwnOptimizer.step

    def watched(own: OwnOptimizer) -> None:
        step(own)
        host = own.module.trainer.optimizers[0]
        used.append((own.optimizer.param_groups[0]["lr"], host.param_groups[0]["lr"]))

    monkeypatch.setattr(OwnOptimizer, "step", watched)
    model = make("simclr", scheduler="warmup_cosine", epochs=3, lr=0.3)
    train(model, batches(2), epochs=3)
    assert len(used) == 6
    start = model.warmup_start_lr  # the same for both, as is the end
    assert model.min_lr == 0.0
    for i, (mine, hosts) in enumerate(used):
        low = start if i < 2 else 0.0  # the first epoch is the warm-up
        assert mine - low == pytest.approx((0.3 - low) * (hosts - low) / (0.1 - low))
    assert len(set(used)) > 3


@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
def test_the_hosts_optimiser_never_touches_the_occluder(schedule: str, make: Make) -> None:
    model = make("byol", schedule=schedule)
    hosts = {id(p) for group in model.learnable_params for p in group["params"]}
    own = dict(model.strategies["adios"].named_parameters())
    assert own
    assert not hosts & {id(p) for p in own.values()}
    assert set(model._ddp_params_and_buffers_to_ignore) == {f"strategies.adios.{n}" for n in own}
    _, views, labels = batches(1)[0]
    loss = model.training_step([torch.arange(_N), views, labels], 0)
    loss.backward()
    assert all((p.grad is not None) is (schedule == "simultaneous") for p in own.values())
    before = [p.grad.clone() for g in model.learnable_params for p in g["params"]
              if p.grad is not None]  # fmt: skip
    queue = inputs_of(model.momentum_backbone)
    model.own_steps()
    after = [p.grad for g in model.learnable_params for p in g["params"] if p.grad is not None]
    assert len(before) == len(after) > 0
    assert all(map(torch.equal, before, after))
    assert all(p.requires_grad for g in model.learnable_params for p in g["params"])
    assert not queue  # the momentum network is left alone
    assert not any(p.grad is not None for p in own.values())
