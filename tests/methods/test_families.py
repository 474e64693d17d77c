# SPDX-License-Identifier: MIT
"""Mixture losses against the published numbers and against formulas written out in loops."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.methods.families import FAMILIES, Forwarded
from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies import Branch

N, D = 6, 8


def mixed(
    lam: Tensor,
    partner: Tensor,
    out: dict[str, Tensor],
    momentum_z: Tensor | None = None,
    **kw: Any,
) -> Forwarded:
    branch = Branch.of("mixmask", Mixture(torch.empty(0), lam, partner), **kw)
    return Forwarded(branch, out, lambda: momentum_z)  # type: ignore[arg-type, return-value]


def tensors(golden: Any, name: str) -> SimpleNamespace:
    return SimpleNamespace(
        **{k: torch.from_numpy(v) for k, v in golden(name).items() if v.ndim},
        **{k: v.item() for k, v in golden(name).items() if not v.ndim},
    )


def moco(z: SimpleNamespace) -> SimpleNamespace:
    queues = torch.stack([z.queue, z.queue])
    return SimpleNamespace(queue=queues, temperature=z.T, num_large_crops=2)


def test_moco_query_is_the_published_loss(golden: Any) -> None:
    z = tensors(golden, "mixmask_moco")
    n = len(z.q)
    raw = z.q_mixed.clone().requires_grad_()
    m = mixed(
        torch.full((n,), z.lam, dtype=torch.float64),
        torch.arange(n).flip(0),
        {"z": F.normalize(raw, dim=1)},
        targets="other",
    )
    out = {"z": [z.q, z.q], "momentum_z": [z.k, z.k]}
    [loss] = FAMILIES["mocov2plus"].losses(moco(z), out, [m])
    expected = z.lam * z.loss_m + (1 - z.lam) * z.loss_m_flip
    assert loss.item() == pytest.approx(expected, abs=1e-10)
    loss.backward()
    torch.testing.assert_close(raw.grad, z.grad_q_mixed, rtol=0, atol=1e-10)
    # What the host finds for its own loss gives the published clean term.
    from mixmask_solo.objectives import info_nce_from_lse

    clean = info_nce_from_lse(z.q, z.k, out["queue_lse"][0], z.T).mean()
    assert clean.item() == pytest.approx(z.loss_o, abs=1e-10)


def test_moco_two_branches_with_different_permutations(golden: Any) -> None:
    z = tensors(golden, "mixmask_both_moco")
    n = len(z.q)
    out = {"z": [z.q, z.q], "momentum_z": [z.k, z.k]}
    branches = [
        mixed(
            torch.full((n,), z.lam_unmix, dtype=torch.float64),
            torch.arange(n).flip(0),
            {"z": z.q_mixed},
            targets="other",
        ),
        mixed(
            torch.full((n,), z.lam_mask, dtype=torch.float64),
            z.index_mask,
            {"z": z.q_mask},
            targets="other",
        ),
    ]
    unmix, mask = FAMILIES["mocov2plus"].losses(moco(z), out, branches)
    assert unmix.item() == pytest.approx(
        z.lam_unmix * z.loss_m + (1 - z.lam_unmix) * z.loss_m_flip, abs=1e-10
    )
    assert mask.item() == pytest.approx(
        z.lam_mask * z.loss_mask + (1 - z.lam_mask) * z.loss_mask_flip, abs=1e-10
    )


def test_moco_symmetric_halves_the_published_sum(golden: Any) -> None:
    z = tensors(golden, "unmix_symmetric_moco")
    n = len(z.q1)
    m = mixed(
        torch.full((n,), z.lam, dtype=torch.float64), torch.arange(n).flip(0), {"z": z.q_mixed}
    )
    out = {"z": [z.q1, z.q2], "momentum_z": [z.k1, z.k2]}
    [loss] = FAMILIES["mocov2plus"].losses(moco(z), out, [m])
    published = z.total_symmetric - z.loss_12 - z.loss_21
    assert loss.item() == pytest.approx(published / 2, abs=1e-10)


def random(seed: int) -> dict[str, Any]:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return {
        "lam": torch.rand(N, generator=g, dtype=torch.float64),
        "partner": torch.randperm(N, generator=g),
        "z": [draw(N, D), draw(N, D)],
        "p": [draw(N, D), draw(N, D)],
        "momentum_z": [draw(N, D), draw(N, D)],
        "zm": draw(N, D),
        "pm": draw(N, D),
        "momentum_zm": draw(N, D),
    }


def cos(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("targets", ["both", "other"])
@pytest.mark.parametrize("pairing", ["query", "pair"])
@pytest.mark.parametrize("method", ["byol", "simsiam"])
def test_cosine_families_against_loops(method: str, pairing: str, targets: str, seed: int) -> None:
    r = random(seed)
    views = [0, 1] if targets == "both" else [1]
    goals = r["momentum_z"] if method == "byol" else r["z"]
    zm = r["momentum_zm"] if method == "byol" else r["zm"]

    def pair_loss(p: Tensor, z: Tensor) -> float:
        return 2 - 2 * cos(p, z) if method == "byol" else -cos(p, z)

    terms = []
    for v in views:
        directions = [[(r["pm"][i], goals[v][j]) for i in range(N) for j in (i, r["partner"][i])]]
        if pairing == "pair":
            directions.append(
                [(r["p"][v][j], zm[i]) for i in range(N) for j in (i, r["partner"][i])]
            )
        for pairs in directions:
            losses = [pair_loss(p, z) for p, z in pairs]
            own, other = losses[::2], losses[1::2]
            terms.append(
                sum(w * a + (1 - w) * b for w, a, b in zip(r["lam"], own, other, strict=True)) / N
            )
    expected = sum(terms) if method == "byol" else sum(terms) / len(terms)
    m = mixed(
        r["lam"],
        r["partner"],
        {"z": r["zm"], "p": r["pm"]},
        r["momentum_zm"],
        pairing=pairing,
        targets=targets,
    )
    out = {k: r[k] for k in ("z", "p", "momentum_z")}
    [loss] = FAMILIES[method].losses(SimpleNamespace(num_large_crops=2), out, [m])
    assert loss.item() == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("method", ["byol", "simsiam", "mocov2plus"])
def test_permuting_targets_equals_the_published_reordering_of_queries(method: str) -> None:
    r = random(3)
    unit = {k: [F.normalize(t, dim=1) for t in r[k]] for k in ("z", "momentum_z")}
    out: dict[str, Any] = {**unit, "p": r["p"]}
    host = SimpleNamespace(
        num_large_crops=2,
        temperature=0.2,
        queue=F.normalize(torch.randn(2, D, 12, dtype=torch.float64), dim=1),
    )
    inverse = r["partner"].argsort()
    one, zero = torch.ones(N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    net = {"z": F.normalize(r["zm"], dim=1), "p": r["pm"]}
    reordered = {k: v[inverse] for k, v in net.items()}
    identity = torch.arange(N)
    loss = FAMILIES[method].losses
    goal = r["momentum_zm"]
    [by_targets] = loss(host, out, [mixed(zero, r["partner"], net, goal)])
    [by_queries] = loss(host, out, [mixed(one, identity, reordered, goal[inverse])])
    assert by_targets.item() == pytest.approx(by_queries.item(), abs=1e-12)


def test_moco_pair_adds_the_mixed_images_as_keys() -> None:
    r = random(4)
    q = [F.normalize(t, dim=1) for t in r["z"]]
    k = [F.normalize(t, dim=1) for t in r["momentum_z"]]
    qm, km = F.normalize(r["zm"], dim=1), F.normalize(r["momentum_zm"], dim=1)
    queue = F.normalize(torch.randn(2, D, 12, dtype=torch.float64), dim=1)
    t = 0.2

    def nce(query: Tensor, key: Tensor, negatives: Tensor) -> float:
        logits = torch.cat([(query @ key)[None], query @ negatives]) / t
        return float(F.cross_entropy(logits[None], torch.tensor([0])))

    expected = 0.0
    for i in range(N):
        lam, j = float(r["lam"][i]), int(r["partner"][i])
        for source, weight in ((i, lam), (j, 1 - lam)):
            expected += weight * nce(qm[i], k[1][source], queue[1]) / 2
            expected += weight * nce(q[1][source], km[i], queue[0]) / 2
    m = mixed(r["lam"], r["partner"], {"z": qm}, km, pairing="pair")
    host = SimpleNamespace(queue=queue, temperature=t, num_large_crops=2)
    [loss] = FAMILIES["mocov2plus"].losses(host, {"z": q, "momentum_z": k}, [m])
    assert loss.item() == pytest.approx(expected / N, abs=1e-12)


@pytest.mark.parametrize("method", ["byol", "mocov2", "mocov2plus", "simclr", "simsiam"])
def test_switch_off_keeps_only_the_own_term(method: str) -> None:
    r = random(5)
    out = {k: [F.normalize(t, dim=1) for t in r[k]] for k in ("z", "p", "momentum_z")}
    net = {"z": F.normalize(r["zm"], dim=1), "p": r["pm"]}
    queue = F.normalize(torch.randn(2, D, 12, dtype=torch.float64), dim=1)
    host = SimpleNamespace(
        num_large_crops=2,
        temperature=0.2,
        queue=queue[0] if method == "mocov2" else queue,
    )
    lam = torch.full((N,), 0.3, dtype=torch.float64)
    half = lambda switch, share: FAMILIES[method].losses(  # noqa: E731
        host, dict(out), [mixed(share, r["partner"], net, r["momentum_zm"], switch=switch)]
    )[0]
    own_only = half(True, torch.ones(N, dtype=torch.float64))
    assert half(False, lam).item() == pytest.approx(0.3 * own_only.item(), abs=1e-12)
