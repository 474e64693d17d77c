# SPDX-License-Identifier: MIT
"""The mixin does the same on either host, and nothing where no block asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods

BOTH = {
    "method_kwargs.mixmask": {"grid_size": 4, "weight": 0.25},
    "method_kwargs.unmix": {"prob": 0.5, "weight": 2.0},
    "method_kwargs.permutations": "different",
}
BLOCKS: dict[str, dict[str, Any]] = {
    "mixup": {"method_kwargs.unmix": {"prob": 1.0}},
    "cutmix": {"method_kwargs.unmix": {"prob": 0.0, "pairing": "pair"}},
    "different": BOTH,
    "same": {**BOTH, "method_kwargs.permutations": "same"},
}
HEADS = {"simclr": "htdt", "simsiam": "patrickhua"}
MASKS = {"grid_size": 4, "mask_type": "discrete", "per_sample": True}
MIXMASK = {**MASKS, "partner": "random"}
ERASE = {**MASKS, "fill": "noise"}
ADDED: dict[str, dict[str, Any]] = {
    "query": {"method_kwargs.mixmask": {**MIXMASK, "pairing": "query"}},
    "pair": {"method_kwargs.mixmask": {**MIXMASK, "pairing": "pair"}},
    "erased views": {"method_kwargs.erase": ERASE},
    "erased branch": {"method_kwargs.erase": {**ERASE, "role": "branch"}},
}


def step(cls: type[Any], cfg: DictConfig, batch: list[Any], state: Any = None) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = cls(cfg)
    if state is not None:
        model.load_state_dict(state)
    model.log = model.log_dict = lambda *_, **__: None
    model.double()
    indexes, views, labels = batch
    loss = model.training_step([indexes, [v.double() for v in views], labels], 3)
    loss.backward()
    return model, loss


@pytest.mark.filterwarnings("ignore")
def test_without_a_block_it_is_the_hosts_own(
    host: Host,
    method: str,
    make_cfg: Callable[..., DictConfig],
    class_of: Callable[[Host, str], type[Any]],
    batch: list[Any],
) -> None:
    a, loss_a = step(class_of(host, method), make_cfg(method), batch)
    random_a = torch.get_rng_state()
    b, loss_b = step(get_methods(host.name)[method], make_cfg(method), batch)
    assert torch.equal(loss_a, loss_b)
    assert torch.equal(random_a, torch.get_rng_state())
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        assert p.grad is None or torch.equal(p.grad, q.grad)


@pytest.mark.solo
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", list(ADDED))
def test_both_hosts_give_the_same_mixture_loss_and_gradients(
    solo_host: Host,
    method: str,
    block: str,
    make_cfg: Callable[..., DictConfig],
    batch: list[Any],
) -> None:
    change = ADDED[block]
    a, loss_a = step(get_methods("solo")[method], make_cfg(method, **change), batch)
    plain = get_methods("solo")[method](make_cfg(method)).state_dict()
    torch.manual_seed(0)
    start = get_methods("solo")[method](make_cfg(method, **change)).state_dict()
    assert plain.keys() == start.keys()
    b, loss_b = step(get_methods("builtin")[method], make_cfg(method, **change), batch, start)
    torch.testing.assert_close(loss_a, loss_b, rtol=1e-9, atol=1e-9)
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        if p.grad is not None and q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8, msg=name)


def logged(cls: type[Any], cfg: DictConfig, batch: list[Any]) -> tuple[Any, Any, dict[str, Any]]:
    """A trained step with what it logs."""
    torch.manual_seed(0)
    model, seen = cls(cfg), {}
    before = model.backbone.conv1.weight.detach().clone()
    model.log = lambda name, value, *_, **__: seen.update({name: value})
    model.log_dict = lambda values, *_, **__: seen.update(values)
    groups = [{"params": list(g["params"])} for g in model.learnable_params]
    optimizer = torch.optim.SGD(groups, 0.1)
    loss = model.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    assert not torch.equal(model.backbone.conv1.weight, before)
    return model, loss, seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("block", list(BLOCKS))
def test_every_method_trains_a_step_with_unmix_and_with_both(
    host: Host, method: str, block: str, make_cfg: Callable[..., DictConfig], batch: list[Any]
) -> None:
    cfg = make_cfg(method, **BLOCKS[block])
    _, loss, seen = logged(get_methods(host.name)[method], cfg, batch)
    assert torch.isfinite(loss)
    names = ["unmix"] + ["mixmask"] * (BLOCKS[block].keys() == BOTH.keys())
    kwargs = cfg.method_kwargs
    terms = [kwargs[name].get("weight", 1.0) * seen[f"train_{name}_loss"] for name in names]
    torch.testing.assert_close(seen["train_mixture_loss"], torch.stack(terms).sum())
    assert all(0 <= seen[f"train_{name}_lam"] <= 1 for name in names)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", list(HEADS))
def test_heads_train_a_step_and_keep_their_names(
    host: Host, method: str, make_cfg: Callable[..., DictConfig], batch: list[Any]
) -> None:
    cfg = make_cfg(method, **BOTH, **{"method_kwargs.head": HEADS[method]})
    model, loss, _ = logged(get_methods(host.name)[method], cfg, batch)
    assert torch.isfinite(loss)
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {
        *(f"projector.{i}.{name}" for i in (0, 3) for name in ("weight", "bias")),
        *(f"{module}.{name}" for module in ("projector.1", "projector.4") for name in norm),
    }
    state = model.state_dict()
    assert {key for key in state if key.startswith("projector")} == expected
    plain = host.methods[method](make_cfg(method)).state_dict()
    assert {k for k in plain if not k.startswith("projector")} == state.keys() - expected


@pytest.mark.solo
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("method", list(HEADS))
def test_heads_give_the_same_loss_and_gradients_on_both_hosts(
    solo_host: Host, method: str, make_cfg: Callable[..., DictConfig], batch: list[Any]
) -> None:
    change = {**BOTH, "method_kwargs.head": HEADS[method]}
    torch.manual_seed(0)
    start = get_methods("solo")[method](make_cfg(method, **change)).state_dict()
    (a, loss_a), (b, loss_b) = (
        step(get_methods(name)[method], make_cfg(method, **change), batch, start)
        for name in ("solo", "builtin")
    )
    torch.testing.assert_close(loss_a, loss_b, rtol=1e-9, atol=1e-9)
    for (name, p), (other, q) in zip(a.named_parameters(), b.named_parameters(), strict=True):
        assert name == other
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8, msg=name)
