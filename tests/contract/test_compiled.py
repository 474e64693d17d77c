# SPDX-License-Identifier: MIT
"""``performance.compile``: the losses and the names of the same networks, uncompiled."""

import os
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from mixmask_solo.networks import split_batch_norm
from mixmask_solo.runs.performance import apply_performance

_BATCH, _CPU = 8, torch.device("cpu")
_NETWORKS = {"byol": 5, "mocov2": 4, "mocov2plus": 4, "simclr": 2, "simsiam": 3}
_MIXED = {"mixmask": {"grid_size": 2, "mask_type": "block"}, "unmix": {"prob": 0.5}}


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    torch._dynamo.reset()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was traced so far; everything but the code generator, which takes minutes for a ResNet,
    so that numbers are eager ones."""
    found: list[Any] = []

    def backend(graph: Any, inputs: Any) -> Any:
        found.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    return found


@pytest.fixture
def build(make_cfg: Callable[..., Any], host: Host) -> Callable[..., Any]:
    """A model with two small convolutions for a backbone."""

    def make(method: str, *, compiled: bool) -> Any:
        torch.manual_seed(0)
        cfg = make_cfg(method, **{"optimizer.batch_size": _BATCH})
        cfg.optimizer.lr = cfg.optimizer.classifier_lr = 1e-3
        cfg.method_kwargs.update(_MIXED)
        model = get_methods(host.name)[method](cfg)
        model.backbone = _backbone(model.features_dim, splits=2 if method == "mocov2" else 1)
        if hasattr(model, "momentum_backbone"):
            model.momentum_backbone = deepcopy(model.backbone).requires_grad_(False)
        model.log = model.log_dict = lambda *_, **__: None
        performance = {"disable_channel_last": False, "compile": compiled, "tf32": False}
        apply_performance(model.train(), OmegaConf.create(performance), _CPU)
        return model

    return make


def _backbone(width: int, splits: int) -> nn.Module:
    convolutions = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3)]
    end = [nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, width)]
    network = nn.Sequential(*convolutions, *end)
    split_batch_norm(network, splits)
    return network


def _train(model: Any, steps: int) -> list[float]:
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    losses = []
    for i in range(steps):
        views = list(torch.rand(2, _BATCH, 3, 16, 16, generator=generator))
        optimizer.zero_grad()
        loss: Tensor = model.training_step([torch.arange(_BATCH), views, torch.arange(8) % 3], i)
        loss.backward()
        optimizer.step()
        for pair in getattr(model, "momentum_pairs", ()):
            model.momentum_updater.update(*pair)
        losses.append(loss.item())
    return losses


def test_each_network_is_one_graph_and_keeps_its_names_and_its_losses(
    graphs: list[Any], build: Callable[..., Any], method: str
) -> None:
    plain, compiled = build(method, compiled=False), build(method, compiled=True)
    assert _train(compiled, 20) == _train(plain, 20)
    for part in ("backbone", "projector"):
        assert type(getattr(compiled, part)) is type(getattr(plain, part))
    ours, theirs = compiled.state_dict(), plain.state_dict()
    assert list(ours) == list(theirs)
    assert all(map(torch.equal, ours.values(), theirs.values()))
    assert len(graphs) == _NETWORKS[method] + 1  # one to see whether compiling works at all


def test_validation_makes_no_graph_and_hooks_are_heard(
    graphs: list[Any], build: Callable[..., Any]
) -> None:
    model, heard = build("byol", compiled=True), []
    for name in ("first", "second"):  # another hook of a later step
        hook = model.projector.register_forward_hook(lambda *_, name=name: heard.append(name))
        _train(model, 1)
        hook.remove()
    assert heard[0] == "first"
    assert heard[-1] == "second"
    before = len(graphs)
    model.eval()
    with torch.no_grad():
        for n in (8, 5, 3):
            model(torch.rand(n, 3, 16, 16))
    assert len(graphs) == before


@pytest.mark.slow
def test_generated_code_agrees_within_rounding(build: Callable[..., Any], method: str) -> None:
    if method != "mocov2plus" and "MIXMASK_COMPILE_ALL" not in os.environ:
        pytest.skip("takes a minute for all methods; MIXMASK_COMPILE_ALL=1 runs them")
    plain, compiled = (build(method, compiled=c) for c in (False, True))
    assert _train(compiled, 20) == pytest.approx(_train(plain, 20), abs=1e-5, rel=0)
