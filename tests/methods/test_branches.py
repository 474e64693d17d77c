# SPDX-License-Identifier: MIT
"""Branches other than mixtures of view 1: masked views, of another view, with hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.methods.families import FAMILIES, Forwarded
from mixmask_solo.mixtures import Mixture
from mixmask_solo.objectives import with_hard_negative
from mixmask_solo.strategies import Branch

N, D, K, T, ALPHA = 5, 6, 9, 0.2, 2.0


def draw(*shape: int, seed: int, grad: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = F.normalize(torch.randn(*shape, generator=generator, dtype=torch.float64), dim=-1)
    return x.requires_grad_(grad)


def nce(query: Tensor, positive: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Cross entropy of one query over its positive and all others."""
    logits = torch.stack([query @ positive, *(query @ other for other in others)]) / T
    return -torch.log_softmax(logits, 0)[0]


def test_one_more_negative_is_one_more_logit() -> None:
    lse, q, k = (
        torch.randn(N, dtype=torch.float64),
        draw(N, D, seed=0, grad=True),
        draw(N, D, seed=1),
    )
    expected = torch.stack([lse, ALPHA * (q * k).sum(1) / T]).logsumexp(0)
    torch.testing.assert_close(with_hard_negative(lse, q, k, ALPHA, T), expected)
    k.requires_grad_()
    with_hard_negative(lse, q, k, ALPHA, T).sum().backward()
    assert k.grad is None
    assert torch.autograd.gradcheck(lambda x: with_hard_negative(lse, x, k, ALPHA, T), q)


@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("method", ["mocov2", "mocov2plus", "simclr"])
def test_hard_negatives_of_a_branch_one_query_at_a_time(method: str, mixed: bool) -> None:
    z, keys, queue = draw(2, N, D, seed=2), draw(2, N, D, seed=3), draw(2, K, D, seed=4)
    raw, negative = draw(N, D, seed=5, grad=True), draw(N, D, seed=6)
    q = F.normalize(raw, dim=1)  # as the networks do, or SimCLR's loss
    lam, partner = torch.rand(N, dtype=torch.float64), torch.randperm(N)
    options: dict[str, Any] = {"negatives": torch.zeros(N), "alpha": ALPHA, "pairing": "query"}
    options["targets"] = "other"
    images = torch.zeros(N)
    branch = Branch.of("b", Mixture(images, lam, partner), **options)
    if not mixed:
        branch = Branch("b", images, **options)
        lam, partner = torch.ones(N, dtype=torch.float64), torch.arange(N)
    wanted = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        positives = z[1] if method == "simclr" else keys[1]
        for source, weight in ((i, lam[i]), (int(partner[i]), 1 - lam[i])):
            if method == "simclr":
                rest = [q[j] for j in range(N) if j != i]
                rest += [z[1][j] for j in range(N) if j != source]
            else:
                rest = list(queue[1 if method == "mocov2plus" else 0])
            rest.append(ALPHA * negative[i])
            wanted = wanted + weight * nce(q[i], positives[source], rest) / N
    host = SimpleNamespace(temperature=T, num_large_crops=2)
    host.queue = queue.mT if method == "mocov2plus" else queue[0].T
    out = {"z": list(z), "momentum_z": list(keys)}
    b = Forwarded(branch, {"z": q}, lambda: q, negative)
    [loss] = FAMILIES[method].losses(host, out, [b])
    torch.testing.assert_close(loss, wanted)
    torch.testing.assert_close(
        *(torch.autograd.grad(x, raw, retain_graph=True)[0] for x in (loss, wanted))
    )


@pytest.mark.parametrize("method", ["byol", "mocov2plus", "simclr", "simsiam"])
def test_a_masked_view_is_compared_with_the_other_view(method: str) -> None:
    """Of view 2 with view 1 and of view 1 with view 2: the same numbers, all turned round."""
    out = {k: list(draw(2, N, D, seed=i)) for i, k in enumerate(("z", "p", "momentum_z"))}
    queue, own = draw(2, K, D, seed=7).mT, {"z": draw(N, D, seed=8), "p": draw(N, D, seed=9)}
    losses = []
    for view in (0, 1):
        turned = {k: x if view == 0 else x[::-1] for k, x in out.items()}
        keys = queue if view == 0 else queue.flip(0)
        host = SimpleNamespace(temperature=T, num_large_crops=2, queue=keys)
        branch = Branch("b", torch.zeros(N), view=view, targets="other")
        forwarded = Forwarded(branch, own, lambda: own["z"])
        losses += FAMILIES[method].losses(host, turned, [forwarded])
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-12)
    if method == "byol":
        pair = 2 - 2 * F.cosine_similarity(own["p"], out["momentum_z"][1])
        mirror = 2 - 2 * F.cosine_similarity(out["p"][1], own["z"])
        assert losses[0].item() == pytest.approx(float((pair + mirror).mean()), abs=1e-12)


def test_asymmetric_moco_has_no_key_for_a_branch_of_view_2() -> None:
    host = SimpleNamespace(temperature=T, queue=draw(K, D, seed=1).T, num_large_crops=2)
    out = {"z": [draw(N, D, seed=2)], "momentum_z": [draw(N, D, seed=3)]}
    b = Forwarded(Branch("b", torch.zeros(N), view=1), {"z": draw(N, D, seed=4)}, lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"^b makes a branch of view 2: .* set symmetric to true"):
        FAMILIES["mocov2"].losses(host, out, [b])
