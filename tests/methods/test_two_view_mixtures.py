# SPDX-License-Identifier: MIT
"""BYOL's and SimSiam's mixture by default: their complete two-view loss with the mixed view.

The reference is written image by image as Un-Mix words it for any framework: the whole loss of
view 2 and the mixtures, weighed by λ, and of view 2 and the re-ordered mixtures, by 1 − λ.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from mixmask_solo.methods.families import FAMILIES, Forwarded
from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies import Branch

N, D = 6, 5
Outputs = dict[str, Tensor]


def draw(seed: int) -> tuple[Outputs, Outputs, Outputs]:
    """Outputs of view 1, of view 2 and of the mixtures; every tensor asks for its gradient."""
    g = torch.Generator().manual_seed(seed)
    new = lambda: torch.randn(N, D, generator=g, dtype=torch.float64).requires_grad_()  # noqa: E731
    first, second, mixed = ({"p": new(), "z": new(), "goal": new()} for _ in range(3))
    return first, second, mixed


def pair(method: str, prediction: Tensor, goal: Tensor) -> Tensor:
    goal = goal.detach()
    cosine = prediction @ goal / (prediction.norm() * goal.norm())
    return 2 - 2 * cosine if method == "byol" else -cosine


def complete(method: str, a: Outputs, b: Outputs, weights: Tensor) -> Tensor:
    """The method's own loss of two views, image i weighed by ``weights[i]``."""
    goal = "goal" if method == "byol" else "z"
    total = torch.zeros((), dtype=torch.float64)
    for i in range(N):
        both = pair(method, a["p"][i], b[goal][i]) + pair(method, b["p"][i], a[goal][i])
        total = total + weights[i] * both / N
    return total if method == "byol" else total / 2


def ours(method: str, views: list[Outputs], m: Outputs, lam: Tensor, partner: Tensor) -> Tensor:
    branch = Branch.of("mixmask", Mixture(torch.empty(0), lam, partner))
    out = {k: [v[k] for v in views] for k in ("p", "z")}
    out["momentum_z"] = [v["goal"] for v in views]
    host = SimpleNamespace(num_large_crops=2)
    mixed = Forwarded(branch, {"p": m["p"], "z": m["z"]}, lambda: m["goal"])
    [loss] = FAMILIES[method].losses(host, out, [mixed])
    return loss


@pytest.mark.parametrize("one_share", [True, False])
@pytest.mark.parametrize("kind", ["reverse", "random", "cycle"])
@pytest.mark.parametrize("method", ["byol", "simsiam"])
def test_loss_and_gradients_are_un_mixs_words(method: str, kind: str, one_share: bool) -> None:
    g = torch.Generator().manual_seed(7)
    partner = {
        "reverse": torch.arange(N).flip(0),
        "random": torch.randperm(N, generator=g),
        "cycle": torch.arange(N).roll(-1),
    }[kind]
    lam = torch.rand(N, generator=g, dtype=torch.float64)
    lam = lam[:1].expand(N) if one_share else lam
    results = []
    for reference in (True, False):
        views_and_mixture = first, second, m = draw(3)
        if reference:
            # row j of the re-ordered mixtures is the one whose partner is j
            inverse = partner.argsort()
            again = {k: v[inverse] for k, v in m.items()}
            loss = complete(method, second, m, lam)
            loss = loss + complete(method, second, again, (1 - lam)[inverse])
        else:
            loss = ours(method, [first, second], m, lam, partner)
        loss.backward()
        results.append((loss.detach(), [t.grad for o in views_and_mixture for t in o.values()]))
    (expected, wanted), (loss, grads) = results
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-13)
    assert [g is None for g in grads] == [g is None for g in wanted]
    for grad, reference_grad in zip(grads, wanted, strict=True):
        if grad is not None:
            torch.testing.assert_close(grad, reference_grad, rtol=0, atol=1e-13)
    # Predictions learn on both sides, targets never, and view 1 takes no part.
    assert [g is not None for g in grads] == [*[False] * 3, True, False, False, True, False, False]
