# SPDX-License-Identifier: MIT
"""Erasing on either host: losses of masked views and of a masked branch, written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.host import Host
from mixmask_solo.masks import discrete
from mixmask_solo.methods import get_methods
from mixmask_solo.strategies import seeded

pytestmark = pytest.mark.filterwarnings("ignore")

AT, SEED = 3, 5  # the step, and the run's seed where none is given
MASKS = {"grid_size": 4, "mask_type": "discrete", "per_sample": True}
NARROW = {"name": "resnet10t", "kwargs": {"channels": [8, 8, 16, 16]}}
Make = Callable[..., Any]
Rows = list[dict[str, Tensor]]


@pytest.fixture
def make(host: Host, make_cfg: Callable[..., DictConfig]) -> Make:
    """``make(method, **block)``: in double precision, with what it logs; no block, the host's."""

    def make(method: str, plain: Any = None, symmetric: bool = True, **block: Any) -> Any:
        torch.manual_seed(0)
        changes: dict[str, Any] = {} if plain else {"method_kwargs.erase": {**MASKS, **block}}
        if host.name == "builtin":  # solo-learn has no small network
            changes["backbone"] = NARROW
        if method == "mocov2":  # in one group keys may come in any order
            changes |= {"method_kwargs.symmetric": symmetric, "method_kwargs.bn_splits": 1}
        model = (plain or get_methods(host.name)[method])(make_cfg(method, **changes))
        model.logged = {}
        model.log = lambda name, value, *_, **__: model.logged.update({name: value})
        model.log_dict = lambda values, *_, **__: model.logged.update(values)
        return model.double()

    return make


@pytest.fixture
def data(batch: list[Any]) -> list[Any]:
    return [batch[0], [v.double() for v in batch[1]], batch[2]]


def masked(views: list[Tensor], *which: int) -> list[Tensor]:
    """The views, some of them with zeros in the cells of their own mask."""
    shown = list(views)
    for v in which:
        n, cell = len(views[v]), views[v].shape[-1] // 4
        drawn = discrete(
            64 * n, 4, 0.5, generator=seeded(SEED, 0, 0, 0, f"mask.{v}" if v else "mask")
        )
        mask = drawn[AT * n : (AT + 1) * n].repeat_interleave(cell, 1).repeat_interleave(cell, 2)
        shown[v] = views[v] * mask[:, None]
    return shown


def cosine(p: Tensor, z: Tensor) -> Tensor:
    return (F.normalize(p, dim=1) * F.normalize(z.detach(), dim=1)).sum(1).mean()


def nce(q: Tensor, k: Tensor, queue: Tensor, t: float) -> Tensor:
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue], dim=1) / t
    return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def nt_xent(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Over 2N anchors, each with one positive."""
    z = F.normalize(torch.cat([a, b]), dim=1)
    logits = (z @ z.T / t).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(len(z)).roll(len(a)))


def two_views(method: Any, online: Rows, keys: Rows) -> Tensor:
    """A method's loss of two views: what the online network says of them, and the momentum one."""
    name, (a, b) = method.cfg.method, online
    if name == "simsiam":
        return -(cosine(a["p"], b["z"]) + cosine(b["p"], a["z"])) / 2
    if name == "simclr":
        return nt_xent(a["z"], b["z"], method.temperature)
    k1, k2 = (k["z"] for k in keys)
    if name == "byol":
        return 4 - 2 * cosine(a["p"], k2) - 2 * cosine(b["p"], k1)
    t, queue = method.temperature, method.queue
    if name == "mocov2plus":
        return (nce(a["z"], k2, queue[1], t) + nce(b["z"], k1, queue[0], t)) / 2
    one_way = nce(a["z"], k2, queue, t)
    return one_way + nce(b["z"], k1, queue, t) if method.symmetric else one_way


def branch_loss(method: Any, own: dict[str, Tensor], online: Rows, keys: Rows, key: Any) -> Tensor:
    """Of masked images of view 1, as each family pairs by default; ``key`` is their momentum z."""
    name, b = method.cfg.method, online[1]
    if name in ("simsiam", "simclr"):
        return two_views(method, [own, b], keys)
    k1, k2 = (k["z"] for k in keys)
    if name == "byol":
        return 4 - 2 * cosine(own["p"], k2) - 2 * cosine(b["p"], key["z"])
    t, queue = method.temperature, method.queue
    if name == "mocov2plus":
        return (nce(own["z"], k2, queue[1], t) + nce(own["z"], k1, queue[0], t)) / 2
    one_way = nce(own["z"], k2, queue, t)
    return one_way + nce(own["z"], k1, queue, t) if method.symmetric else one_way


def classifier_loss(method: Any, online: Rows, labels: Tensor) -> Tensor:
    """Mean over the views that go online."""
    seen = online if getattr(method, "symmetric", True) else online[:1]
    return torch.stack([F.cross_entropy(out["logits"], labels) for out in seen]).mean()


def inputs(network: Any) -> list[Tensor]:
    """What a network, if there is one, gets from now on."""
    seen: list[Tensor] = []
    if network is not None:
        network.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach().clone()))
    return seen


def outputs(method: Any, views: list[Tensor], momentum: bool = False) -> Rows:
    if momentum and not hasattr(method, "momentum_backbone"):
        return []
    network = method.momentum_forward if momentum else method
    return [network(x) for x in views]


FORMS = [
    *((name, True) for name in ("byol", "mocov2", "mocov2plus", "simclr", "simsiam")),
    ("mocov2", False),
]


@pytest.mark.parametrize(("views", "targets"), [("query", "clean"), ("both", "masked")])
@pytest.mark.parametrize(("method", "symmetric"), FORMS)
def test_a_masked_view_is_the_methods_loss_of_masked_images(
    method: str, symmetric: bool, views: str, targets: str, make: Make, data: list[Any]
) -> None:
    model = make(method, symmetric=symmetric, views=views, targets=targets)
    hand = deepcopy(model)
    loss = model.training_step(data, AT)
    both = views == "both" or (symmetric and method in ("byol", "mocov2", "mocov2plus"))
    shown = masked(data[1], *((0, 1) if both else (0,)))
    online = outputs(hand, shown)
    keys = outputs(hand, shown if targets == "masked" else data[1], momentum=True)
    expected = two_views(hand, online, keys) + classifier_loss(hand, online, data[2])
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    loss.backward()
    expected.backward()
    for (name, p), q in zip(model.named_parameters(), hand.parameters(), strict=True):
        if q.grad is not None and q.requires_grad:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-7, atol=1e-9, msg=name)


def test_what_both_networks_see_masked_is_the_hosts_own_step_of_masked_images(
    host: Host,
    method: str,
    make: Make,
    class_of: Callable[[Host, str], type[Any]],
    data: list[Any],
) -> None:
    model = make(method, views="both", targets="masked")
    plain = make(method, plain=class_of(host, method))
    assert model.state_dict().keys() == plain.state_dict().keys()
    loss = model.training_step(data, AT)
    goal = plain.training_step([data[0], masked(data[1], 0, 1), data[2]], AT)
    assert torch.equal(loss, goal)
    assert model.logged.keys() == plain.logged.keys()
    for (name, x), y in zip(model.named_buffers(), plain.buffers(), strict=True):
        assert torch.equal(x, y), name


@pytest.mark.parametrize(("method", "symmetric"), FORMS)
def test_a_masked_branch_adds_its_loss_to_that_of_clean_views(
    method: str, symmetric: bool, make: Make, data: list[Any]
) -> None:
    model = make(method, symmetric=symmetric, role="branch", weight=0.25)
    hand = deepcopy(model)
    loss = model.training_step(data, AT)
    shown = masked(data[1], 0)[0]
    online, keys = outputs(hand, data[1]), outputs(hand, data[1], momentum=True)
    own, key = hand(shown), [*outputs(hand, [shown], momentum=True), None][0]
    added = branch_loss(hand, own, online, keys, key)
    expected = two_views(hand, online, keys) + classifier_loss(hand, online, data[2])
    torch.testing.assert_close(model.logged["train_erase_loss"], added.detach())
    torch.testing.assert_close(loss, expected + 0.25 * added, rtol=1e-9, atol=1e-9)
    assert "train_erase_lam" not in model.logged


def test_a_branch_costs_what_mixmasks_costs(
    host: Host, method: str, make_cfg: Callable[..., DictConfig], data: list[Any]
) -> None:
    """The same passes of the same networks, of images that differ in their masked cells alone."""
    passes: dict[str, list[list[Tensor]]] = {}
    for name, more in (("erase", {"role": "branch"}), ("mixmask", {})):
        torch.manual_seed(0)
        changes = {"backbone": NARROW} if host.name == "builtin" else {}
        cfg = make_cfg(method, **{f"method_kwargs.{name}": {**MASKS, **more}}, **changes)
        model = get_methods(host.name)[method](cfg).double()
        model.log = model.log_dict = lambda *_, **__: None
        passes[name] = []
        for network in ("backbone", "momentum_backbone"):
            passes[name].append(inputs(getattr(model, network, None)))
        model.training_step(data, AT)
    for erased, mixed in zip(passes["erase"], passes["mixmask"], strict=True):
        for a, b in zip(erased[:2], mixed[:2], strict=True):
            assert torch.equal(a, b)
        for a, b in zip(erased[2:], mixed[2:], strict=True):
            assert torch.equal(a != 0, a == b)
            assert not torch.equal(a, b)


@pytest.mark.parametrize(("role", "fill"), [("view", "noise"), ("branch", "blur")])
def test_every_method_trains_two_steps(
    role: str, fill: str, method: str, make: Make, batch: list[Any]
) -> None:
    model = make(method, role=role, fill=fill, blur_kernel=7, ratio=[0.4, 0.8]).float()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.05)
    for i in range(2):
        optimizer.zero_grad()
        loss = model.training_step(batch, i)
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert "classifier.weight" in moved
    assert any(name.startswith("backbone.") for name in moved)
    assert not any("momentum" in name for name in moved)
    assert ("train_erase_loss" in model.logged) is (role == "branch")


def test_small_crops_stay_whole(make_cfg: Any, data: list[Any], host: Host) -> None:
    cfg = make_cfg("byol", **{"method_kwargs.erase": MASKS, "data.num_small_crops": 1})
    torch.manual_seed(0)
    model = get_methods(host.name)["byol"](cfg).double()
    model.log = model.log_dict = lambda *_, **__: None
    small = torch.ones(4, 3, 6, 6).double()
    seen = inputs(model.backbone)
    model.training_step([data[0], [*data[1], small], data[2]], AT)
    assert all(map(torch.equal, seen, [*masked(data[1], 0, 1), small]))
    assert len(seen) == 3
