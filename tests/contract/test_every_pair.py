# SPDX-License-Identifier: MIT
"""Extra views on either host: the loss is a double loop over views, nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import combinations
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.refused import check_options

pytestmark = pytest.mark.filterwarnings("ignore")
SMALL = {"patch_size": 4, "kernel": 5, "mask_ratio": 0.3}
OFF = {"high_pass": False, "mask_ratio": 0.0, "focal": 0.0, "extra_views": 0}
T = 0.2
Make = Callable[..., Any]


def built(host: str, cfg: DictConfig) -> Any:
    """The method around a backbone of one layer, in double precision, silent."""
    model = get_methods(host)[cfg.method](cfg)
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    model.backbone = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, model.features_dim))
    if hasattr(model, "momentum_backbone"):
        model.momentum_backbone = deepcopy(model.backbone).requires_grad_(False)
    model.log = model.log_dict = lambda *_, **__: None
    return model.double()


@pytest.fixture
def crops() -> list[Any]:
    """Indexes, four crops of four images, labels."""
    generator = torch.Generator().manual_seed(2)
    views = list(torch.rand(4, 4, 3, 8, 8, generator=generator, dtype=torch.float64))
    return [torch.arange(4), views, torch.arange(4) % 3]


@pytest.fixture
def make(host: Host, make_cfg: Callable[..., DictConfig]) -> Make:
    """``make(method, block, **kwargs)``, the same weights each time."""

    def make(method: str, block: Any = None, **kwargs: Any) -> Any:
        torch.manual_seed(0)
        if block is not None:
            kwargs["mscn"] = {**SMALL, **block}
        changes = {f"method_kwargs.{key}": value for key, value in kwargs.items()}
        cfg = make_cfg(method, **changes)
        cfg.data.num_extra_crops = 2  # as our runs have it: the loader is theirs
        return built(host.name, cfg)

    return make


def inputs(network: Any) -> list[Tensor]:
    """What a network gets, from now on."""
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    return seen


def log_sum(anchor: Tensor, others: list[Tensor]) -> Tensor:
    return (torch.stack(others) @ anchor / T).logsumexp(0)


def nt_xent(u: Tensor, v: Tensor) -> Tensor:
    """SimCLR's loss of two views, anchor by anchor."""
    rows = [*F.normalize(u, dim=1), *F.normalize(v, dim=1)]
    n, losses = len(u), []
    for i, anchor in enumerate(rows):
        others = [row for j, row in enumerate(rows) if j != i]
        losses.append(log_sum(anchor, others) - anchor @ rows[(i + n) % (2 * n)] / T)
    return torch.stack(losses).mean()


def nce(q: Tensor, k: Tensor, queue: Tensor) -> Tensor:
    losses = []
    for i, query in enumerate(q):
        losses.append(log_sum(query, [k[i], *queue.T]) - query @ k[i] / T)
    return torch.stack(losses).mean()


def cosine(p: Tensor, z: Tensor) -> Tensor:
    return torch.stack([F.cosine_similarity(p[i], z[i], dim=0) for i in range(len(p))]).mean()


def pair(model: Any, method: str, a: int, b: int, on: list[Any], keys: list[Tensor]) -> Tensor:
    """The loss of views a < b, by its definition. Views 1 and 3 stand beside the second queue."""
    if method == "simclr":
        return nt_xent(on[a]["z"], on[b]["z"])
    if method == "simsiam":
        z = [o["z"].detach() for o in on]
        return -(cosine(on[a]["p"], z[b]) + cosine(on[b]["p"], z[a])) / 2
    if method == "byol":
        return 4 - 2 * cosine(on[a]["p"], keys[b]) - 2 * cosine(on[b]["p"], keys[a])
    if method == "mocov2":
        queue = model.queue.clone()
        return nce(on[a]["z"], keys[b], queue) + nce(on[b]["z"], keys[a], queue)
    # A query of view a meets the queue which holds keys of the other's kind. A view of the host
    # always meets the other view's queue: its own is one that it never sees.
    met = [model.queue[1 - v if v < 2 else w % 2].clone() for v, w in ((a, b), (b, a))]
    return (nce(on[a]["z"], keys[b], met[0]) + nce(on[b]["z"], keys[a], met[1])) / 2


def double_loop(model: Any, method: str, online: list[Tensor], keys: list[Tensor]) -> Any:
    on = [model(x) for x in online]
    momentum = hasattr(model, "momentum_backbone")
    z = [model.momentum_forward(x)["z"] for x in keys] if momentum else []
    pairs = list(combinations(range(len(on)), 2))
    return on, torch.stack([pair(model, method, a, b, on, z) for a, b in pairs]).sum()


def check_gradients(model: Any, loss: Tensor, expected: Tensor) -> None:
    parameters = [p for p in model.parameters() if p.requires_grad]
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)
    for a, b in zip(found, wanted, strict=True):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        torch.testing.assert_close(a, b.expand_as(a) if b.ndim == 0 else b, rtol=1e-7, atol=1e-9)


def classifier(on: list[Any], labels: Tensor) -> Tensor:
    return torch.stack([F.cross_entropy(o["logits"], labels) for o in on]).mean()


@pytest.mark.parametrize("block", [{}, {"same_view": True}], ids=["crops", "same_view"])
def test_the_loss_is_a_double_loop_over_all_views(
    method: str, block: dict[str, Any], make: Make, crops: list[Any]
) -> None:
    """Of what the networks really saw; their masks are another test's."""
    moco = {"shuffle": False} if method == "mocov2" else {}
    model = make(method, block, temperature=T, **moco).eval()  # the same projections come out again
    queue = model.queue.clone() if hasattr(model, "queue") else None
    indexes, views, labels = crops
    online = inputs(model.backbone)
    momentum = inputs(model.momentum_backbone) if hasattr(model, "momentum_backbone") else []
    loss = model.training_step([indexes, views[:2] if block else views, labels], 0)
    seen, keys = list(online), list(momentum)
    assert (len(seen), len(keys)) == (4, 4 if momentum else 0)
    if method == "mocov2":
        keys = [keys[1], keys[0], *keys[2:]]  # k² before k¹
    if queue is not None:
        model.queue.copy_(queue)
    on, expected = double_loop(model, method, seen, keys)
    check_gradients(model, loss, expected + classifier(on[:2], labels))


def test_asymmetric_moco_pairs_all_queries_with_its_one_key(make: Make, crops: list[Any]) -> None:
    model = make("mocov2", {}, temperature=T, symmetric=False).eval()
    queue = model.queue.clone()
    online, momentum = inputs(model.backbone), inputs(model.momentum_backbone)
    loss = model.training_step(crops, 0)
    assert (len(online), len(momentum)) == (3, 1)
    on = [model(x) for x in online[:3]]
    [key] = [model.momentum_forward(x)["z"] for x in momentum[:1]]
    expected = torch.stack([nce(o["z"], key, queue) for o in on]).sum()
    check_gradients(model, loss, expected + classifier(on[:1], crops[2]))


def test_with_query_extra_views_only_predict(make: Make, crops: list[Any]) -> None:
    model = make("byol", {"pairing": "query", "weight": 0.5}).eval()
    online, momentum = inputs(model.backbone), inputs(model.momentum_backbone)
    loss = model.training_step(crops, 0)
    assert (len(online), len(momentum)) == (4, 2)
    on = [model(x) for x in online[:4]]
    z = [model.momentum_forward(x)["z"] for x in momentum[:2]]
    own = [2 - 2 * cosine(on[a]["p"], z[1 - a]) for a in (0, 1)]
    more = [2 - 2 * cosine(on[a]["p"], z[b]) for a in (2, 3) for b in (0, 1)]
    expected = torch.stack(own).sum() + 0.5 * torch.stack(more).sum()
    check_gradients(model, loss, expected + classifier(on[:2], crops[2]))


@pytest.mark.parametrize("head", ["htdt", "google"])
def test_a_joint_head_projects_each_pair_together(head: str, make: Make, crops: list[Any]) -> None:
    model = make("simclr", {}, head=head, temperature=T).train()
    loss = model.training_step(crops, 0)
    again = make("simclr", {}, head=head, temperature=T).train()
    online = inputs(again.backbone)
    again.training_step(crops, 0)
    other = make("simclr", {}, head=head, temperature=T).train()
    on = [other(x) for x in online]
    joint = other.projector.joint
    losses = [nt_xent(*joint([on[a]["z"], on[b]["z"]])) for a, b in combinations(range(4), 2)]
    expected = torch.stack(losses).sum() + classifier(on[:2], crops[2])
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-9)


def test_all_off_is_the_plain_host_bit_for_bit(method: str, make: Make, crops: list[Any]) -> None:
    given = [crops[0], crops[1][:2], crops[2]]
    results = []
    for block in (None, OFF):
        model = make(method, block)
        loss = model.training_step(given, 0)
        loss.backward()
        results.append((loss, torch.get_rng_state(), model))
    (a, state_a, plain), (b, state_b, off) = results
    assert torch.equal(a, b)
    assert torch.equal(state_a, state_b)
    assert plain.state_dict().keys() == off.state_dict().keys()
    for p, q in zip(plain.parameters(), off.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        assert p.grad is None or torch.equal(p.grad, q.grad)
    for (name, p), q in zip(plain.state_dict().items(), off.state_dict().values(), strict=True):
        assert torch.equal(p, q), name


def test_two_steps_train_every_method(method: str, make: Make, crops: list[Any]) -> None:
    model = make(method, {})
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    groups = [{"params": list(g["params"])} for g in model.learnable_params]
    optimizer = torch.optim.SGD(groups, 0.1)
    for i in range(2):
        optimizer.zero_grad()
        loss = model.training_step(crops, i)
        assert torch.isfinite(loss)
        loss.backward()
        optimizer.step()
    now = dict(model.named_parameters())
    still = [name for name, p in before.items() if torch.equal(p, now[name])]
    assert not [name for name in still if "weight" in name]


@pytest.mark.solo
@pytest.mark.parametrize("block", [{}, {"same_view": True, "views": "query"}])
def test_both_hosts_give_the_same_loss_and_gradients(
    solo_host: Host,
    method: str,
    block: dict[str, Any],
    make_cfg: Callable[..., DictConfig],
    crops: list[Any],
) -> None:
    results, start = [], None
    for name in ("solo", "builtin"):
        torch.manual_seed(0)
        cfg = make_cfg(method, **{"method_kwargs.mscn": {**SMALL, **block}})
        cfg.data.num_extra_crops = 2
        model = built(name, cfg)
        start = start or {k: v.clone() for k, v in model.state_dict().items()}
        model.load_state_dict(start)
        views = crops[1][:2] if block else crops[1]
        loss = model.training_step([crops[0], views, crops[2]], 3)
        loss.backward()
        results.append((loss, model))
    (loss_a, a), (loss_b, b) = results
    torch.testing.assert_close(loss_a, loss_b, rtol=1e-9, atol=1e-9)
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        if p.grad is not None and q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8, msg=name)


def test_another_number_of_crops_is_one_line(make: Make, crops: list[Any]) -> None:
    model = make("byol", {})
    line = (
        r"^augmentations\[0\]\.num_crops gives 3 crops .* byol takes 2, method_kwargs\.mscn 2 more$"
    )
    with pytest.raises(ConfigError, match=line):
        model.training_step([crops[0], crops[1][:3], crops[2]], 0)


@pytest.mark.parametrize("method", ["nnbyol", "nnclr", "nnsiam", "ressl"])
def test_a_method_whose_extra_views_are_no_targets_says_so(method: str) -> None:
    line = rf"^method_kwargs\.mscn\.pairing is pair, .* {method}: "
    with pytest.raises(ConfigError, match=line):
        check_options(method, {"mscn": {"pairing": "pair"}})
    check_options(method, {"mscn": {"pairing": "query"}})
