# SPDX-License-Identifier: MIT
"""The mixin on the built-in host: invisible without a block, exact with one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.host import load
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.mocov2 import mocov2
from support.methods import HEADS, method_config

METHODS = sorted(HEADS)


def config(method: str, mixmask: Any = None, small: int = 0, **kwargs: Any) -> DictConfig:
    block = {} if mixmask is None else {"mixmask": mixmask}
    return method_config(method, {**block, **kwargs}, data={"num_small_crops": small})


def batch(small: int = 0, n: int = 8) -> list[Any]:
    """Two large views, the same whatever else there is, and small ones."""
    g = torch.Generator().manual_seed(3)
    sizes = [32, 32] + [16] * small
    views = [torch.randn(n, 3, s, s, generator=g) for s in sizes]
    return [torch.arange(n), views, torch.arange(n) % 10]


def step(cls: type[Any], cfg: DictConfig, data: list[Any]) -> tuple[Any, Tensor]:
    torch.manual_seed(0)
    model = cls(cfg)
    model.logged = {}
    model.log = lambda name, value, **_: model.logged.update({name: value})
    model.log_dict = lambda values, **_: model.logged.update(values)
    loss = model.training_step(data, 0)
    loss.backward()
    return model, loss


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", METHODS)
def test_without_a_block_it_is_the_hosts_method_bit_for_bit(method: str) -> None:
    host = load("builtin")
    plain, ours = {**host.methods, "mocov2": mocov2(host)}[method], get_methods("builtin")[method]
    a, loss_a = step(plain, config(method), batch())
    state_a = torch.get_rng_state()
    b, loss_b = step(ours, config(method), batch())
    assert torch.equal(loss_a, loss_b)
    assert torch.equal(state_a, torch.get_rng_state())
    assert list(a.state_dict()) == list(b.state_dict())
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        assert p.grad is None or torch.equal(p.grad, q.grad), name
    for (name, x), y in zip(a.named_buffers(), b.buffers(), strict=True):
        assert torch.equal(x, y), name


@pytest.mark.parametrize("method", METHODS)
def test_the_block_adds_exactly_its_weighted_loss(method: str) -> None:
    cls = get_methods("builtin")[method]
    _, vanilla = step(cls, config(method), batch())
    losses = [
        step(cls, config(method, {"grid_size": 4, "weight": w}), batch())[1] for w in (1.0, 0.5, 0)
    ]
    mixture = losses[0] - vanilla
    torch.testing.assert_close(losses[2], vanilla)
    torch.testing.assert_close(losses[1] - vanilla, 0.5 * mixture, rtol=1e-4, atol=1e-5)
    assert mixture.abs() > 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_same_draws_in_the_same_step_other_draws_in_the_next(method: str) -> None:
    cfg = config(method, {"grid_size": 4, "mask_type": "discrete"})
    torch.manual_seed(0)
    model = get_methods("builtin")[method](cfg)
    model.log = model.log_dict = lambda *_, **__: None
    model.eval()  # batch norm then sees the same statistics every time
    before = {k: v.clone() for k, v in model.state_dict().items()}
    losses = []
    for i in (3, 3, 4):
        model.load_state_dict(before)
        losses.append(model.training_step(batch(), i).item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("method", ["byol", "simclr"])
def test_small_crops_are_neither_mixed_nor_targets(method: str) -> None:
    """They change the method's own loss, and the mixture's in nothing."""
    cls, block = get_methods("builtin")[method], {"grid_size": 4}
    alone, _ = step(cls, config(method, block), batch())
    model, loss = step(cls, config(method, block, small=2), batch(small=2))
    plain, own = step(cls, config(method, small=2), batch(small=2))
    mixture = model.logged["train_mixture_loss"]
    torch.testing.assert_close(mixture, alone.logged["train_mixture_loss"])
    torch.testing.assert_close(loss, own + mixture)
    assert plain.backbone.bn1.num_batches_tracked + 1 == model.backbone.bn1.num_batches_tracked


@pytest.mark.parametrize("pairing", ["query", "pair"])
@pytest.mark.parametrize("method", METHODS)
def test_odd_batches_and_grids_per_sample(method: str, pairing: str) -> None:
    block = {"grid_size": 3, "per_sample": True, "pairing": pairing, "ratio": [0.2, 0.8]}
    n, more = 7, {}
    if method.startswith("moco"):
        more["queue_size"] = 4 * n
    if method == "mocov2":
        more["symmetric"] = True  # otherwise it refuses `pair`
    cls = get_methods("builtin")[method]
    _, own = step(cls, config(method, **more), batch(n=n))
    model, loss = step(cls, config(method, block, **more), batch(n=n))
    mixture = model.logged["train_mixture_loss"]
    assert abs(mixture) > 1e-3
    torch.testing.assert_close(loss, own + mixture)
    torch.testing.assert_close(mixture, model.logged["train_mixmask_loss"])
    assert 0.1 <= model.logged["train_mixmask_lam"] <= 0.8


@pytest.mark.parametrize(
    ("method", "pairing", "online", "momentum"),
    [
        ("byol", None, 3, 3),
        ("byol", "query", 3, 2),
        ("simsiam", None, 3, None),
        ("mocov2plus", None, 3, 2),
    ],
)
def test_a_step_forwards_and_norms_count_what_the_docs_say(
    method: str, pairing: str | None, online: int, momentum: int | None
) -> None:
    block = {"grid_size": 4, "pairing": pairing}
    model, _ = step(get_methods("builtin")[method], config(method, block), batch())
    assert model.backbone.bn1.num_batches_tracked == online
    if momentum is not None:
        assert model.momentum_backbone.bn1.num_batches_tracked == momentum


def test_autocast_gives_float32_losses() -> None:
    case = get_methods("builtin")["mocov2plus"], config("mocov2plus", {"grid_size": 4}), batch()
    _, exact = step(*case)
    with torch.autocast("cpu", torch.bfloat16):
        _, loss = step(*case)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0)
