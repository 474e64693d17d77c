# SPDX-License-Identifier: MIT
"""Mixture losses of solo-learn's further methods against formulas written out in loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.methods.families import FAMILIES, Forwarded
from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies import Branch

N, D, K, T = 6, 5, 9, 0.3
METHODS = (
    *("barlow_twins", "dino", "mocov3", "nnbyol", "nnclr", "nnsiam", "ressl", "swav", "vicreg"),
)
PairLoss = Callable[[int, int], float]
PAIRS = ("barlow_twins", "dino", "mocov3", "swav", "vicreg")


def draw(g: torch.Generator, *shape: int, unit: bool = False) -> Tensor:
    x = torch.randn(*shape, generator=g, dtype=torch.float64)
    return F.normalize(x, dim=-1) if unit else x


class Stub(SimpleNamespace):
    """What the families read of a host's method."""

    def find_nn(self, z: Tensor) -> tuple[Tensor, Tensor]:
        index = (z @ self.queue.T).argmax(1)
        return index, self.queue[index]

    def get_assignments(self, preds: list[Tensor]) -> list[Tensor]:
        return [torch.softmax(p * 3, dim=1).detach() for p in preds]

    def momentum_forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"k": self.mixed_key}


def setting(seed: int) -> tuple[Stub, dict[str, Any], dict[str, Tensor], Tensor, Tensor]:
    """Host, outputs of the views, outputs of the mixtures, λ, partner."""
    g = torch.Generator().manual_seed(seed)
    host = Stub(
        queue=draw(g, K, D, unit=True),
        mixed_key=draw(g, N, D),
        temperature=T,
        temperature_q=0.2,
        temperature_k=0.1,
        num_large_crops=2,
        lamb=0.1,
        scale_loss=0.5,
        sim_loss_weight=25.0,
        var_loss_weight=3.0,
        cov_loss_weight=2.0,
        dino_loss_func=SimpleNamespace(
            student_temp=0.2, teacher_temp_schedule=[0.5, 0.1], epoch=1, center=draw(g, 1, D)
        ),
    )
    out: dict[str, Any] = {
        key: [draw(g, N, D, unit=True).requires_grad_() for _ in range(2)] for key in "zpq"
    }
    for key in ("momentum_z", "momentum_k"):
        out[key] = [draw(g, N, D, unit=True) for _ in range(2)]
    net = {key: draw(g, N, D, unit=True).requires_grad_() for key in "zpq"}
    lam = torch.rand(N, generator=g, dtype=torch.float64)
    return host, out, net, lam, torch.randperm(N, generator=g)


def mixed(net: dict[str, Tensor], lam: Tensor, partner: Tensor, host: Stub, **kw: Any) -> Forwarded:
    branch = Branch.of("mixmask", Mixture(torch.empty(0), lam, partner), **kw)
    return Forwarded(branch, net, lambda: host.mixed_key)


def nce(anchor: Tensor, candidates: Tensor, positive: int, t: float) -> float:
    logits = [float(F.normalize(anchor, dim=0) @ F.normalize(c, dim=0)) / t for c in candidates]
    return math.log(sum(math.exp(x) for x in logits)) - logits[positive]


def cos(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def entropy(logits: Tensor, target: Tensor, t: float) -> float:
    total = sum(math.exp(float(x) / t) for x in logits)
    return -sum(
        float(p) * (float(x) / t - math.log(total)) for p, x in zip(target, logits, strict=True)
    )


def soft(values: dict[tuple[int, int], float], lam: Tensor, partner: Tensor) -> float:
    """Mean over mixtures i of the losses by (mixture, source)."""
    total = 0.0
    for i in range(N):
        j = int(partner[i])
        total += float(lam[i]) * values[i, i] + (1 - float(lam[i])) * values[i, j]
    return total / N


def teacher(host: Stub, z: Tensor) -> Tensor:
    return torch.softmax((z - host.dino_loss_func.center) / 0.1, dim=1)


def expected(method: str, pairing: str, views: list[int], s: Any) -> float:
    """The family's loss, pair by pair."""
    _, _, _, lam, partner = s
    terms = [
        soft({(i, j): loss(i, j) for i in range(N) for j in range(N)}, lam, partner)
        for v in views
        for loss in directions(method, pairing, v, s)
    ]
    return sum(terms) / (1 if method in ("mocov3", "nnbyol") else len(terms))


def directions(method: str, pairing: str, v: int, s: Any) -> list[PairLoss]:
    """Pair losses of (mixture, source) with view v: mixtures predict, and are predicted."""
    host, out, net, _, _ = s
    queue = host.queue
    near = queue[(out["momentum_z" if method == "nnbyol" else "z"][v] @ queue.T).argmax(1)]
    if method == "mocov3":
        q, qm, k, km = out["q"][v], net["q"], out["momentum_k"][v], host.mixed_key
        query: PairLoss = lambda i, j: 2 * T * nce(qm[i], k, j, T)  # noqa: E731
        mirror: PairLoss = lambda i, j: 2 * T * nce(q[j], km, i, T)  # noqa: E731
        return [query, mirror] if pairing == "pair" else [query]
    if method == "nnclr":
        return [lambda i, j: nce(near[j], net["p"], i, T)]
    if method == "nnbyol":
        return [lambda i, j: 2 - 2 * cos(net["p"][i], near[j])]
    if method == "nnsiam":
        return [lambda i, j: -cos(net["p"][i], near[j])]
    if method == "ressl":
        goal, logits = (
            torch.softmax(out["momentum_z"][v] @ queue.T / 0.1, dim=1),
            net["z"] @ queue.T,
        )
        return [lambda i, j: entropy(logits[i], goal[j], 0.2)]
    key, t = ("p", T) if method == "swav" else ("z", 0.2)
    if method == "swav":
        goal, of_mixed = host.get_assignments([out["p"][v], net["p"]])
    else:
        goal, of_mixed = teacher(host, out["momentum_z"][v]), teacher(host, host.mixed_key)
    query = lambda i, j: entropy(net[key][i], goal[j], t)  # noqa: E731
    mirror = lambda i, j: entropy(out[key][v][j], of_mixed[i], t)  # noqa: E731
    return [query, mirror] if pairing == "pair" else [query]


CASES = [
    *((m, "query") for m in METHODS if m not in ("barlow_twins", "vicreg")),
    *((m, "pair") for m in ("mocov3", "swav", "dino")),
]


@pytest.mark.parametrize("targets", ["both", "other"])
@pytest.mark.parametrize(("method", "pairing"), CASES)
def test_against_loops(method: str, pairing: str, targets: str) -> None:
    s = setting(0)
    host, out, net, lam, partner = s
    with torch.no_grad():
        wanted = expected(method, pairing, [0, 1] if targets == "both" else [1], s)
    m = mixed(net, lam, partner, host, pairing=pairing, targets=targets)
    [loss] = FAMILIES[method].losses(host, out, [m])
    assert loss.item() == pytest.approx(wanted, abs=1e-10)


def whole_batch(method: str, host: Stub, u: Tensor, v: Tensor) -> float:
    """Barlow Twins and VICReg as their papers write them, entry by entry."""
    total = 0.0
    if method == "barlow_twins":
        u, v = ((x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt() for x in (u, v))
        for i in range(D):
            for j in range(D):
                c = float(sum(a[i] * b[j] for a, b in zip(u, v, strict=True))) / N
                total += (1 - c) ** 2 if i == j else 0.1 * c**2
        return 0.5 * total
    total += 25.0 * float(((u - v) ** 2).mean())
    for z in (u, v):
        deviation = (z.var(0) + 1e-4).sqrt()
        total += 3.0 * sum(max(0.0, 1 - float(d)) for d in deviation) / D
        c = torch.cov(z.T)
        total += 2.0 * sum(float(c[i, j]) ** 2 for i in range(D) for j in range(D) if i != j) / D
    return total


@pytest.mark.parametrize("targets", ["both", "other"])
@pytest.mark.parametrize("method", ["barlow_twins", "vicreg"])
def test_batch_statistics_follow_un_mixs_formula(method: str, targets: str) -> None:
    """λ·L(z², z^m) + (1 − λ)·L(z², z^m re-ordered by the inverse permutation)."""
    host, out, net, _, partner = setting(1)
    share, z = 0.3, net["z"].detach()
    inverse = partner.argsort()
    wanted = [
        share * whole_batch(method, host, u, z)
        + (1 - share) * whole_batch(method, host, u, z[inverse])
        for u in (view.detach() for view in out["z"][0 if targets == "both" else 1 :])
    ]
    lam = torch.full((N,), share, dtype=torch.float64)
    m = mixed(net, lam, partner, host, targets=targets)
    [loss] = FAMILIES[method].losses(host, out, [m])
    assert loss.item() == pytest.approx(sum(wanted) / len(wanted), abs=1e-10)


def test_vicreg_takes_a_share_per_image() -> None:
    host, out, net, lam, partner = setting(2)
    [loss] = FAMILIES["vicreg"].losses(host, out, [mixed(net, lam, partner, host)])
    u, v = out["z"][1].detach(), net["z"].detach()
    pairs = {(i, j): float(((u[j] - v[i]) ** 2).mean()) for i in range(N) for j in range(N)}
    spread = whole_batch("vicreg", host, u, v) - 25.0 * float(((u - v) ** 2).mean())
    assert loss.item() == pytest.approx(25.0 * soft(pairs, lam, partner) + spread, abs=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_the_permutation_of_targets_re_orders_the_mixtures(method: str) -> None:
    """λ = 0 with partners π is λ = 1 with the mixtures re-ordered by π's inverse."""
    host, out, net, _, partner = setting(3)
    inverse = partner.argsort()
    one, zero = torch.ones(N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    losses = FAMILIES[method].losses
    [a] = losses(host, out, [mixed(net, zero, partner, host)])
    moved = {k: v[inverse] for k, v in net.items()}
    [b] = losses(host, out, [mixed(moved, one, torch.arange(N), host)])
    assert a.item() == pytest.approx(b.item(), abs=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_without_switch_only_the_own_term_is_left(method: str) -> None:
    host, out, net, _, partner = setting(4)

    def loss(share: float, switch: bool) -> float:
        lam = torch.full((N,), share, dtype=torch.float64)
        m = mixed(net, lam, partner, host, switch=switch)
        return FAMILIES[method].losses(host, out, [m])[0].item()

    assert loss(0.3, False) == pytest.approx(0.3 * loss(1.0, True), abs=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_reach_mixtures_and_in_pairs_the_views(method: str) -> None:
    host, out, net, lam, partner = setting(5)
    pairing = "pair" if method in PAIRS else "query"
    [loss] = FAMILIES[method].losses(host, out, [mixed(net, lam, partner, host, pairing=pairing)])
    mixtures = torch.autograd.grad(loss, list(net.values()), allow_unused=True, retain_graph=True)
    assert any(g is not None and g.abs().sum() > 0 for g in mixtures)
    views = [x for key in "zpq" for x in out[key]]
    reached = torch.autograd.grad(loss, views, allow_unused=True)
    assert any(g is not None for g in reached) == (pairing == "pair")


def test_a_branch_counts_for_itself_alone() -> None:
    host, out, net, lam, partner = setting(6)
    other = {k: v.flip(0) for k, v in net.items()}
    for method in METHODS:
        a, b = (mixed(x, lam, partner, host) for x in (net, other))
        together = FAMILIES[method].losses(host, out, [a, b])
        alone = [FAMILIES[method].losses(host, out, [m])[0] for m in (a, b)]
        torch.testing.assert_close(torch.stack(together), torch.stack(alone))
