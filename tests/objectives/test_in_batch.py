# SPDX-License-Identifier: MIT
"""NT-Xent against solo-learn's numbers, explicit loops, and its soft-label identity."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.objectives import Source, simclr, soft_nt_xent


def row_loss(anchor: int, positive: int, rows: Tensor, temperature: float) -> float:
    """Cross entropy of one anchor among all other rows, from the definition."""
    sims = [float(rows[anchor] @ row) / temperature for row in rows]
    others = sum(math.exp(s) for i, s in enumerate(sims) if i != anchor)
    return math.log(others) - sims[positive]


def draw(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    u, v = torch.randn(2, n, 5, generator=generator, dtype=torch.float64)
    return u, v


def mixed(lam: Tensor, partner: Tensor) -> list[Source]:
    return [Source(None, lam), Source(partner, 1 - lam)]


def nt_xent(u: Tensor, v: Tensor, temperature: float) -> Tensor:
    """Of two views: one source each, of weight 1."""
    return soft_nt_xent(u, v, [Source(None, torch.ones(len(u)))], temperature)


@pytest.mark.parametrize("labels", ["", "_labels"])
def test_solo_loss_parity(golden, labels):
    g = golden("solo_losses")
    z = torch.from_numpy(g["simclr_z"]).requires_grad_()
    indexes = torch.from_numpy(g["simclr_labels" if labels else "simclr_indexes"])
    loss = simclr(z, indexes, 0.2)
    loss.backward()
    torch.testing.assert_close(loss.item(), float(g[f"simclr_loss{labels}"]), rtol=0, atol=1e-10)
    if not labels:
        expected = torch.from_numpy(g["simclr_grad_z"])
        torch.testing.assert_close(z.grad, expected, rtol=0, atol=1e-10)


def test_nt_xent_is_the_definition_row_by_row():
    u, v = draw(4)
    rows = F.normalize(torch.cat([u, v]), dim=1)
    expected = [
        0.5 * (row_loss(i, i + 4, rows, 0.3) + row_loss(i + 4, i, rows, 0.3)) for i in range(4)
    ]
    assert nt_xent(u, v, 0.3).item() == pytest.approx(sum(expected) / 4)


def test_two_views_agree_with_the_multi_view_form():
    u, v = draw(6)
    stacked = simclr(torch.cat([u, v]), torch.arange(6).repeat(2), 0.2)
    torch.testing.assert_close(nt_xent(u, v, 0.2), stacked)


@given(n=st.integers(2, 7), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_soft_labels_equal_two_weighted_passes(n, seed, share):
    """For any permutation, involution or not (recipes 2.4 of the published wording)."""
    u, v = draw(n, seed)
    partner = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    lam = torch.full((n,), share, dtype=torch.float64)
    one = soft_nt_xent(u, v, mixed(lam, partner), 0.2)
    first, second = nt_xent(u, v, 0.2), nt_xent(u, v[partner.argsort()], 0.2)
    torch.testing.assert_close(one, share * first + (1 - share) * second)


def test_soft_labels_row_by_row_with_a_share_per_sample():
    u, v = draw(3)
    rows = F.normalize(torch.cat([u, v]), dim=1)
    lam, partner = [0.2, 0.9, 0.5], [1, 2, 0]
    pair = [
        [row_loss(j + 3, s, rows, 0.3) + row_loss(s, j + 3, rows, 0.3) for s in (j, partner[j])]
        for j in range(3)
    ]
    own, other = (
        sum(0.5 * a * losses[s] for a, losses in zip(shares, pair, strict=True)) / 3
        for s, shares in enumerate((lam, [1 - a for a in lam]))
    )
    sources = mixed(torch.tensor(lam, dtype=torch.float64), torch.tensor(partner))
    assert soft_nt_xent(u, v, sources, 0.3).item() == pytest.approx(own + other)
    assert soft_nt_xent(u, v, sources[:1], 0.3).item() == pytest.approx(own)


def test_query_only_is_a_soft_cross_entropy_of_the_mixed_rows():
    u, v = draw(3)
    rows = F.normalize(torch.cat([v, u]), dim=1)
    lam, partner = torch.tensor([0.2, 0.9, 0.5]).double(), torch.tensor([1, 2, 0])
    logits = (rows[:3] @ rows.T / 0.3).fill_diagonal_(-1e9)
    targets = torch.zeros(3, 6, dtype=torch.float64)
    targets[torch.arange(3), 3 + torch.arange(3)] += lam
    targets[torch.arange(3), 3 + partner] += 1 - lam
    actual = soft_nt_xent(u, v, mixed(lam, partner), 0.3, query_only=True)
    torch.testing.assert_close(actual, F.cross_entropy(logits, targets))


def test_gradients():
    u, v = (x.requires_grad_() for x in draw(3))
    sources = mixed(torch.tensor([0.2, 0.9, 0.5]).double(), torch.tensor([1, 2, 0]))
    assert torch.autograd.gradcheck(lambda a, b: soft_nt_xent(a, b, sources, 0.5), (u, v))


def test_float32_under_autocast():
    u, v = (x.bfloat16() for x in draw(4))
    with torch.autocast("cpu", torch.bfloat16):
        assert nt_xent(u, v, 0.1).dtype == torch.float32
        assert simclr(torch.cat([u, v]), torch.arange(4).repeat(2), 0.1).dtype == torch.float32
