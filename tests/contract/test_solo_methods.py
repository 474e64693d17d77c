# SPDX-License-Identifier: MIT
"""Methods that only solo-learn has, on its real classes: mixtures, and none without a block."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.rules import MOMENTUM_METHODS
from mixmask_solo.fills import high_pass
from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.families import FAMILIES, Forwarded
from mixmask_solo.methods.refused import REFUSED
from mixmask_solo.strategies import Strategy, register
from support.saliency import block, localizer_file

pytestmark = [pytest.mark.solo, pytest.mark.filterwarnings("ignore")]

HEAD = {"proj_hidden_dim": 16, "proj_output_dim": 8}
PREDICTOR = {**HEAD, "pred_hidden_dim": 16}
KWARGS: dict[str, dict[str, Any]] = {
    "barlow_twins": HEAD,
    "dino": {**HEAD, "num_prototypes": 12, "freeze_last_layer": 0},
    "mocov3": {**PREDICTOR, "temperature": 0.2},
    "nnbyol": {**PREDICTOR, "queue_size": 16},
    "nnclr": {**PREDICTOR, "queue_size": 16, "temperature": 0.2},
    "nnsiam": {**PREDICTOR, "queue_size": 16},
    "ressl": {**HEAD, "queue_size": 16, "temperature_q": 0.1, "temperature_k": 0.04},
    "swav": {
        **HEAD,
        "queue_size": 16,
        "num_prototypes": 12,
        "temperature": 0.1,
        "epoch_queue_starts": 1,
        "freeze_prototypes_epochs": 0,
    },
    "vicreg": HEAD,
}
REFUSED_KWARGS: dict[str, dict[str, Any]] = {
    "supcon": {**HEAD, "temperature": 0.1},
    "vibcreg": {**HEAD, "iternorm": False},
    "wmse": {
        **HEAD,
        "proj_output_dim": 2,
        "whitening_iters": 1,
        "whitening_size": 4,
        "whitening_eps": 0.0,
    },
}
MIXMASK = {"grid_size": 4, "mask_type": "discrete"}
MIXED = {"mixmask": MIXMASK, "unmix": {"prob": 0.5}}
ERASED = {"erase": {**MIXMASK, "per_sample": True}}
MASKED_BRANCH = {"erase": {**MIXMASK, "per_sample": True, "role": "branch"}}
CASES = [
    ("mocov3", "query"),
    ("mocov3", "pair"),
    ("nnclr", "query"),
    ("nnbyol", "query"),
    ("nnsiam", "query"),
    ("ressl", "query"),
    ("swav", "query"),
    ("swav", "pair"),
    ("dino", "query"),
    ("dino", "pair"),
    ("barlow_twins", "pair"),
    ("vicreg", "pair"),
]


def build(cls: type[Any], cfg: DictConfig, dtype: torch.dtype = torch.float32) -> Any:
    """In the second epoch of a run, where SwAV's queue is in use."""
    torch.manual_seed(0)
    model = cls(cfg)
    model._trainer = SimpleNamespace(world_size=1, current_epoch=1, global_rank=0)
    model.on_train_start()
    if hasattr(model, "on_train_epoch_start"):
        model.on_train_epoch_start()
    model.logged = {}
    model.log = lambda name, value, **_: model.logged.__setitem__(name, value)
    model.log_dict = lambda values, **_: model.logged.update(values)
    if cfg.method == "swav":
        generator = torch.Generator().manual_seed(4)
        model.queue.copy_(torch.randn(model.queue.shape, generator=generator))
    return model.to(dtype)


def run(model: Any, batch: list[Any]) -> Tensor:
    indexes, views, labels = batch
    dtype = model.backbone.conv1.weight.dtype
    loss: Tensor = model.training_step([indexes, [v.to(dtype) for v in views], labels], 3)
    loss.backward()
    return loss


@pytest.fixture
def cfg_for(make_cfg: Callable[..., DictConfig]) -> Callable[..., DictConfig]:
    """``cfg_for(method, **changes)``."""

    def make(method: str, **changes: Any) -> DictConfig:
        cfg = make_cfg("byol", **{"optimizer.batch_size": 4})
        cfg.method = method
        cfg.method_kwargs = {**KWARGS, **REFUSED_KWARGS}[method] | changes
        return cfg

    return make


@pytest.mark.parametrize("method", [*KWARGS, *REFUSED_KWARGS])
def test_without_a_block_it_is_the_hosts_own(
    method: str, solo_host: Host, cfg_for: Callable[..., DictConfig], batch: list[Any]
) -> None:
    ours = importlib.import_module("mixmask_solo.methods.solo").REGISTERED[method]
    a = build(solo_host.methods[method], cfg_for(method))
    loss_a, random_a = run(a, batch), torch.get_rng_state()
    b = build(ours, cfg_for(method))
    assert torch.equal(loss_a, run(b, batch))
    assert torch.equal(random_a, torch.get_rng_state())
    assert a.logged.keys() == b.logged.keys()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        assert p.grad is None or torch.equal(p.grad, q.grad)


@pytest.mark.parametrize("method", list(KWARGS))
def test_every_method_takes_saliency_s_masking_alone(
    method: str,
    solo_host: Host,
    cfg_for: Callable[..., DictConfig],
    batch: list[Any],
    tmp_path: Path,
) -> None:
    """The first view's crop masked, the second's too where a momentum network has the keys."""
    saliency = block(localizer_file(tmp_path / "weights.pth"))
    model = build(get_methods("solo")[method], cfg_for(method, saliency=saliency))
    seen: list[Tensor] = []
    model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    assert torch.isfinite(run(model, batch))
    clean = [high_pass(view, 5.0, 11) for view in batch[1]]
    moved = [not torch.equal(a, b) for a, b in zip(seen, clean, strict=False)]
    assert moved == [True, method in MOMENTUM_METHODS]
    assert "train_saliency_loss" not in model.logged


@pytest.mark.parametrize("method", list(REFUSED_KWARGS))
def test_the_others_refuse_saliency_by_name(
    method: str, solo_host: Host, cfg_for: Callable[..., DictConfig]
) -> None:
    ours = importlib.import_module("mixmask_solo.methods.solo").REGISTERED[method]
    with pytest.raises(ConfigError, match=r"method_kwargs\.saliency is given, but method is"):
        build(ours, cfg_for(method, saliency={}))


Flip = Callable[[Tensor], Tensor]
Term = Callable[[dict[str, Tensor], Flip], Tensor]


def host_terms(method: Any, out: dict[str, Any], m: Forwarded, v: int) -> list[Term]:
    """solo-learn's own losses of view v: mixtures predict; then, where there is one, the mirror.

    A term gets the mixtures' outputs and re-orders what else shows mixtures.
    """
    name = method.cfg.method
    module = {"nnsiam": "simsiam", "nnbyol": "byol"}.get(name, name.removesuffix("_twins"))
    loss = getattr(importlib.import_module(f"solo.losses.{module}"), f"{module}_loss_func", None)
    z = out["z"][v]
    if name == "mocov3":
        q, k = out["q"][v], out["momentum_k"][v]
        km = method.momentum_forward(m.branch.mixture.images)["k"]
        return [lambda x, _: loss(x["q"], k, 0.2), lambda _, f: loss(q, f(km), 0.2)]
    if name in ("nnclr", "nnbyol", "nnsiam"):
        near = method.find_nn(out["momentum_z"][v] if name == "nnbyol" else z)[1]
        if name == "nnclr":
            return [lambda x, _: loss(near, x["p"], 0.2)]
        return [lambda x, _: loss(x["p"], near)]
    if name == "ressl":
        return [lambda x, _: loss(x["z"], out["momentum_z"][v], method.queue, 0.1, 0.04)]
    if name == "swav":
        codes, [own] = method.get_assignments(out["p"]), method.get_assignments([m.out["p"]])
        return [
            lambda x, _: swapped(x["p"], codes[v]),
            lambda _, f: swapped(out["p"][v], f(own)),
        ]
    if name == "dino":
        center, zm = method.dino_loss_func.center, method.momentum_forward(m.branch.mixture.images)
        goal, own = (torch.softmax((t - center) / 0.07, 1) for t in (out["momentum_z"][v], zm["z"]))
        return [lambda x, _: swapped(x["z"], goal), lambda _, f: swapped(z, f(own))]
    if name == "barlow_twins":
        return [lambda x, _: loss(z, x["z"], 0.0051, 0.024)]
    return [lambda x, _: loss(z, x["z"])]


def reference(method: Any, out: dict[str, Any], m: Forwarded, pairing: str) -> Tensor:
    """Un-Mix's formula: mixtures re-ordered, one λ. Called before the host's step moves queues."""
    name, lam = method.cfg.method, m.branch.mixture.lam[0]
    flipped = {k: x.flip(0) for k, x in m.out.items()}
    terms = []
    for v in [0, 1] if pairing == "query" and name != "ressl" else [1]:
        for term in host_terms(method, out, m, v)[: 2 if pairing == "pair" else 1]:
            own, other = term(m.out, lambda t: t), term(flipped, lambda t: t.flip(0))
            terms.append(lam * own + (1 - lam) * other)
    total = torch.stack(terms).sum()
    return total if name in ("mocov3", "nnbyol") else total / len(terms)


def swapped(logits: Tensor, target: Tensor) -> Tensor:
    """Cross entropy at the temperature 0.1 of SwAV's predictions and DINO's student."""
    return -(target * torch.log_softmax(logits / 0.1, dim=1)).sum(1).mean()


class Spy:
    """A family that keeps what it saw."""

    def __init__(self, name: str, pairing: str) -> None:
        self.family, self.pairing = FAMILIES[name], pairing

    def losses(self, method: Any, out: dict[str, Any], mixed: list[Forwarded]) -> list[Tensor]:
        self.expected = reference(method, out, mixed[0], self.pairing).detach()
        return self.family.losses(method, out, mixed)


@pytest.mark.parametrize(("method", "pairing"), CASES)
def test_the_mixture_is_un_mixs_formula_over_the_hosts_losses(
    method: str,
    pairing: str,
    solo_host: Host,
    cfg_for: Callable[..., DictConfig],
    batch: list[Any],
) -> None:
    cfg = cfg_for(method, mixmask={**MIXMASK, "pairing": pairing})
    # solo-learn's Barlow Twins makes a float32 BatchNorm whatever it is given.
    dtype, near = (torch.float32, 1e-4) if method == "barlow_twins" else (torch.float64, 1e-9)
    plain = build(solo_host.methods[method], cfg_for(method), dtype)
    model = build(get_methods("solo")[method], cfg, dtype)
    assert plain.state_dict().keys() == model.state_dict().keys()
    spy = model.family = Spy(method, pairing)
    loss = run(model, batch)
    mixture = model.logged["train_mixture_loss"]
    torch.testing.assert_close(mixture, spy.expected, rtol=max(near, 1e-7), atol=1e-7)
    torch.testing.assert_close(loss - mixture, run(plain, batch), rtol=near, atol=1e-9)
    for name, p in model.named_parameters():
        assert p.grad is None or ("momentum" not in name and p.grad.isfinite().all()), name
    for name, buffer in plain.named_buffers():
        if "queue" in name or "center" in name:  # no mixture enters a queue or moves a centre
            torch.testing.assert_close(model.get_buffer(name), buffer)


@pytest.mark.parametrize(
    "blocks", [MIXED, ERASED, MASKED_BRANCH], ids=["mixed", "erased", "branch"]
)
@pytest.mark.parametrize("method", list(KWARGS))
def test_two_steps_move_the_online_network(
    method: str,
    blocks: dict[str, Any],
    solo_host: Host,
    cfg_for: Callable[..., DictConfig],
    batch: list[Any],
) -> None:
    model = build(get_methods("solo")[method], cfg_for(method, **blocks))
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    for _ in range(2):
        optimizer.zero_grad()
        assert run(model, batch).isfinite()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, start[name])}
    assert {"backbone.conv1.weight", "classifier.weight"} <= moved
    assert not any("momentum" in name for name in moved)


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_a_refused_method_says_why(
    method: str, solo_host: Host, cfg_for: Callable[..., DictConfig]
) -> None:
    registered = importlib.import_module("mixmask_solo.methods.solo").REGISTERED
    cls = registered[method]
    assert issubclass(cls, solo_host.methods[method])
    assert pickle.loads(pickle.dumps(cls)) is cls
    if method in REFUSED_KWARGS:
        with pytest.raises(ConfigError, match=f"^method_kwargs.mixmask is given, .* {method}: no"):
            cls(cfg_for(method, mixmask=MIXMASK))


@pytest.mark.parametrize(
    ("method", "block"),
    [("nnsiam", {"pairing": "pair"}), ("barlow_twins", {"per_sample": True})],
)
def test_an_option_that_means_nothing_says_why(
    method: str, block: dict[str, Any], solo_host: Host, cfg_for: Callable[..., DictConfig]
) -> None:
    with pytest.raises(ConfigError, match=f"but method is {method}: "):
        get_methods("solo")[method](cfg_for(method, mixmask=MIXMASK | block))


def test_what_its_methods_log_is_no_strategys_name(solo_host: Host) -> None:
    for cls in (solo_host.methods[name] for name in FAMILIES if name in solo_host.methods):
        source = inspect.getsource(inspect.getmodule(cls))
        for name in re.findall(r'"train_(\w+)_loss"', source):
            with pytest.raises(ValueError, match=f"cannot be named '{name}'"):
                register(type("Other", (Strategy,), {"name": name}))


UNMASKED = {"patch_size": 4, "high_pass": False, "mask_ratio": 0.0, "focal": 0.0}


@pytest.mark.parametrize("method", ["barlow_twins", "dino", "mocov3", "vicreg"])
def test_extra_views_add_the_hosts_own_loss_of_each_pair(
    method: str, solo_host: Host, cfg_for: Callable[..., DictConfig]
) -> None:
    """Whatever that is: asked for two of four crops at a time, where masks hide nothing."""
    generator = torch.Generator().manual_seed(1)
    # solo-learn's own Barlow Twins makes a layer in single precision in its step.
    dtype = torch.float32 if method == "barlow_twins" else torch.float64
    crops = list(torch.rand(4, 4, 3, 8, 8, generator=generator).to(dtype))
    rest = torch.arange(4), torch.arange(4) % 3

    def loss(views: list[Tensor], **changes: Any) -> Tensor:
        cfg = cfg_for(method, **changes)
        cfg.data.num_extra_crops = 2
        model = build(get_methods("solo")[method], cfg, dtype)
        total = model.training_step([rest[0], views, rest[1]], 3)
        return (total - model.logged["train_class_loss"]).detach()

    pairs = [loss([crops[a], crops[b]]) for a, b in combinations(range(4), 2)]
    torch.testing.assert_close(loss(crops, mscn=UNMASKED), torch.stack(pairs).sum())


@pytest.mark.parametrize(("method", "pairing"), CASES)
def test_masked_extra_views_train_a_step(
    method: str, pairing: str, solo_host: Host, cfg_for: Callable[..., DictConfig]
) -> None:
    cfg = cfg_for(method, mscn={"patch_size": 4, "kernel": 5, "pairing": pairing})
    cfg.data.num_extra_crops = 2
    model = build(get_methods("solo")[method], cfg)
    crops = list(torch.rand(4, 4, 3, 8, 8, generator=torch.Generator().manual_seed(1)))
    assert torch.isfinite(run(model, [torch.arange(4), crops, torch.arange(4) % 3]))
    assert model.logged["train_mscn_loss"] != 0
