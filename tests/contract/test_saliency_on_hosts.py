# SPDX-License-Identifier: MIT
"""Saliency-guided masking on either host: its loss, what stays as it is, every method."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.rules import HARD_NEGATIVES, MOMENTUM_METHODS
from mixmask_solo.fills import high_pass
from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.families import FAMILIES
from mixmask_solo.strategies import saliency_options
from mixmask_solo.strategies.frozen import facts_of
from support.saliency import block, localizer_file

pytestmark = pytest.mark.filterwarnings("ignore")
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return localizer_file(tmp_path_factory.mktemp("localizer") / "weights.pth")


@pytest.fixture
def make(host: Host, make_cfg: Callable[..., DictConfig], weights: Path) -> Make:
    """``make(method, blocks, **kwargs)``: in double precision, silent."""

    def make(method: str, saliency: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        torch.manual_seed(0)
        changes = {f"method_kwargs.{key}": value for key, value in kwargs.items()}
        changes["method_kwargs.saliency"] = block(weights, **(saliency or {}))
        model = get_methods(host.name)[method](make_cfg(method, **changes))
        model.log = model.log_dict = lambda *_, **__: None
        return model.double()

    return make


@pytest.fixture
def data() -> list[Any]:
    views = torch.rand(2, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    return [torch.arange(4), list(views), torch.arange(4) % 3]


def inputs(network: Any) -> list[Tensor]:
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    return seen


def infonce(query: Tensor, positive: Tensor, rest: Tensor, negative: Tensor) -> Tensor:
    """Cross entropy of K + 2 logits, one query at a time, each with a negative of its own."""
    losses = []
    for i, q in enumerate(query):
        logits = torch.stack([q @ positive[i], *(q @ r for r in rest[i]), 2.0 * (q @ negative[i])])
        losses.append(-torch.log_softmax(logits / 0.2, 0)[0])
    return torch.stack(losses)


def others(z: Tensor) -> list[Tensor]:
    """Of two views' rows, stacked, those that are neither a query of view 1 nor its positive."""
    n = len(z) // 2
    return [z[[j for j in range(2 * n) if j % n != i]] for i in range(n)]


# two by two cells: with these shares each image loses one at least
SHARES = {"ratio": [0.3, 0.5], "negative_ratio": [0.6, 0.7]}


@pytest.mark.parametrize(
    ("method", "symmetric", "fill"),
    [
        ("mocov2", False, "high_pass"),
        ("mocov2", False, "mean"),
        ("mocov2", True, "mean"),
        ("mocov2plus", True, "high_pass"),
        ("simclr", True, "high_pass"),
    ],
)
def test_its_loss_and_gradients_one_query_at_a_time(
    method: str, symmetric: bool, fill: str, make: Make, data: list[Any]
) -> None:
    """Oddity 2: in the public code the first image's negative serves all queries."""
    changes = {"symmetric": symmetric} if method == "mocov2" else {}
    model = make(method, {"fill": fill, **SHARES}, temperature=0.2, **changes).eval()
    has_keys = method != "simclr"
    online = inputs(model.backbone)
    momentum = inputs(model.momentum_backbone) if has_keys else online
    queue = model.queue.clone() if has_keys else None
    loss = model.training_step(data, 0)
    gradients = torch.autograd.grad(loss, list(model.backbone.parameters()))

    clean = [high_pass(x, 5.0, 11) if fill == "high_pass" else x for x in data[1]]
    both = has_keys and (symmetric or method == "mocov2plus")
    views = range(2 if both else 1)
    negatives = [x.clone() for x in momentum[-len(views) :]]
    seen = [x.clone() for x in online[: 1 if has_keys and not both else 2]]
    for v in views:
        assert not torch.equal(seen[v], clean[v])
        # each is the other view's own image, of the same place in the batch
        front = model.strategies["saliency"].foreground(data[1][1 - v])
        pixels = front[:, None].repeat_interleave(4, 2).repeat_interleave(4, 3)
        same = negatives[v] == clean[1 - v]
        assert same.flatten(1).any(1).all()
        assert not same.flatten(1).all(1).any()
        if fill == "mean":
            assert (same | pixels).all()
    if has_keys:
        keys = [
            x
            for x in momentum
            if any(torch.equal(x.sort(0).values, c.sort(0).values) for c in clean)
        ]
        assert len(keys) == len(views)
    else:
        assert torch.equal(seen[1], clean[1])

    terms = []
    z = [F.normalize(model(x)["z"], dim=1) for x in seen]
    for v in views:
        if method == "simclr":
            hardest = F.normalize(model(negatives[0])["z"], dim=1).detach()
            stacked = torch.cat(z)
            losses = infonce(z[0], z[1], others(stacked), hardest)  # type: ignore[arg-type]
            logits = [torch.cat([(z[0][i] @ z[1][i])[None], r @ z[1][i]])
                      for i, r in enumerate(others(stacked))]  # fmt: skip
            plain = [-torch.log_softmax(row / 0.2, 0)[0] for row in logits]
            terms = [losses.mean(), torch.stack(plain).mean()]
        else:
            hardest = model.momentum_forward(negatives[v])["z"]
            key = model.momentum_forward(clean[1 - v])["z"]
            rest = queue[1 - v] if method == "mocov2plus" else queue
            terms.append(infonce(z[v], key, [rest.T] * 4, hardest).mean())  # type: ignore
    total = torch.stack(terms).sum() if method == "mocov2" else torch.stack(terms).mean()
    labels = data[2]
    classes = [F.cross_entropy(model(x)["logits"], labels) for x in seen]
    expected = total + torch.stack(classes).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    wanted = torch.autograd.grad(expected, list(model.backbone.parameters()))
    torch.testing.assert_close(gradients, wanted, rtol=1e-9, atol=1e-9)


def statistics(model: Any) -> dict[str, Tensor]:
    names = ("running_mean", "running_var", "num_batches_tracked")
    return {k: v.clone() for k, v in model.named_buffers() if k.endswith(names)}


@pytest.mark.parametrize("method", HARD_NEGATIVES)
def test_negatives_leave_running_statistics_alone(method: str, make: Make, data: list[Any]) -> None:
    found = []
    for negatives in (True, False):
        model = make(method, {"negatives": negatives, **SHARES}).train()
        model.training_step(data, 0)
        found.append(statistics(model))
    assert found[0].keys() == found[1].keys()
    assert not [k for k, v in found[0].items() if not torch.equal(v, found[1][k])]


@pytest.mark.parametrize("method", ["mocov2", "byol", "simclr", "simsiam"])
def test_training_changes_the_method_and_never_the_localiser(
    method: str, make: Make, data: list[Any]
) -> None:
    model = make(method).train()
    localizer = model.strategies["saliency"].localizer
    frozen = {k: v.clone() for k, v in localizer.state_dict().items()}
    before = model.backbone.conv1.weight.detach().clone()
    groups = [{**g, "params": list(g["params"])} for g in model.learnable_params]
    learnt = {id(p) for g in groups for p in g["params"]}
    assert not learnt & {id(p) for p in localizer.parameters()}
    optimizer = torch.optim.SGD(groups, 0.1, weight_decay=0.1)
    for i in range(2):
        model.train()
        optimizer.zero_grad()
        model.training_step(data, i).backward()
        optimizer.step()
    assert not torch.equal(model.backbone.conv1.weight, before)
    assert not any(m.training for m in localizer.modules())
    assert all(p.grad is None and not p.requires_grad for p in localizer.parameters())
    assert all(torch.equal(v, frozen[k]) for k, v in localizer.state_dict().items())
    names = [k for k in model.state_dict() if k.startswith("strategies.")]
    assert names
    assert all(k.startswith("strategies.saliency.localizer.network.") for k in names)


@pytest.mark.parametrize("method", ["mocov2", "simclr"])
def test_the_method_starts_as_it_does_without(
    method: str, make: Make, make_cfg: Callable[..., DictConfig], host: Host
) -> None:
    torch.manual_seed(0)
    plain = get_methods(host.name)[method](make_cfg(method)).double().state_dict()
    facts_of.cache_clear()
    for _ in range(2):  # the second time, what the file holds is known
        model = make(method).state_dict()
        assert all(torch.equal(model[k], v) for k, v in plain.items())


@pytest.mark.parametrize("method", ["byol", "simsiam"])
def test_methods_without_negatives_take_the_masking_alone_and_say_so(
    method: str, make: Make, data: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    saliency_options._tell.cache_clear()
    with caplog.at_level(logging.INFO, logger="mixmask_solo"):
        model = make(method, SHARES)
    assert [r.message for r in caplog.records if r.name.startswith("mixmask_solo")] == [
        f"saliency: {method} has no negatives that one more could join (mocov2, mocov2plus and "
        "simclr have): masking alone"
    ]
    online = inputs(model.backbone)
    model.training_step(data, 0)
    clean = [high_pass(x, 5.0, 11) for x in data[1]]
    moved = [not torch.equal(a, b) for a, b in zip(online, clean, strict=True)]
    assert moved == [True, method == "byol"]
    with pytest.raises(ConfigError, match=rf"saliency makes hard negatives, but .* is {method}: "):
        make(method, {"negatives": True})


def test_who_takes_negatives_and_who_has_a_momentum_network() -> None:
    able = {name for name, family in FAMILIES.items() if family.direction is not None}
    assert able == set(HARD_NEGATIVES)
    assert set(MOMENTUM_METHODS) <= FAMILIES.keys()
