# SPDX-License-Identifier: MIT
"""BYOL's and SimSiam's pair losses, and the λ-weighted sum over permuted targets."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.objectives import Source, byol, simsiam, weigh


@pytest.mark.parametrize(("loss", "name"), [(byol, "byol"), (simsiam, "simsiam")])
def test_solo_loss_parity(golden, loss, name):
    g = golden("solo_losses")
    p, z = (torch.from_numpy(g[key]).requires_grad_() for key in ("p", "z"))
    value = loss(p, z).mean()
    value.backward()
    assert z.grad is None
    torch.testing.assert_close(value.item(), float(g[f"{name}_loss"]), rtol=0, atol=1e-10)
    torch.testing.assert_close(p.grad, torch.from_numpy(g[f"{name}_grad_p"]), rtol=0, atol=1e-10)


@pytest.mark.parametrize("loss", [byol, simsiam])
def test_extremes(loss):
    x = torch.tensor([[3.0, 4.0]])
    low, high = (0.0, 4.0) if loss is byol else (-1.0, 1.0)
    torch.testing.assert_close(loss(x, 2 * x), torch.tensor([low]), atol=1e-6, rtol=0)
    torch.testing.assert_close(loss(x, -x), torch.tensor([high]))


@pytest.mark.parametrize("loss", [byol, simsiam])
def test_float32_under_autocast(loss):
    x = torch.randn(4, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(x, x.flip(0)).dtype == torch.float32


@given(n=st.integers(1, 9), seed=st.integers(0, 99), share=st.floats(0, 1))
def test_permuting_targets_equals_permuting_predictions_by_the_inverse(n, seed, share):
    """The published code re-orders predictions; for one λ both are the same mean."""
    generator = torch.Generator().manual_seed(seed)
    p, z = torch.randn(2, n, 5, generator=generator, dtype=torch.float64)
    partner = torch.randperm(n, generator=generator)
    lam = torch.full((n,), share, dtype=torch.float64)
    ours = weigh(byol, p, z, [Source(None, lam), Source(partner, 1 - lam)])
    published = share * byol(p, z).mean() + (1 - share) * byol(p[partner.argsort()], z).mean()
    torch.testing.assert_close(ours, published)


def test_any_number_of_sources_and_targets_that_belong_together():
    pred, target, more = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0], [0.1, 0.2, 0.3]])
    index = torch.tensor([2, 2, 0])
    weights = torch.tensor([[0.5, 1.0, 0.0], [0.25, 0.0, 0.5], [0.25, 0.0, 0.5]])
    sources = [Source(None, weights[0]), Source(index, weights[1]), Source(None, weights[2])]
    expected = 0.0
    for where, weight in sources:
        for i in range(3):
            j = i if where is None else int(where[i])
            expected += float(weight[i] * (pred[i] * target[j] + more[j])) / 3
    actual = weigh(lambda p, t, m: p * t + m, pred, (target, more), sources)
    assert actual.item() == pytest.approx(expected)
    whole = weigh(lambda p, t: p.sum() + t[0], pred, target, sources[1:2])  # of a whole batch
    assert whole.item() == pytest.approx(float(weights[1].mean()) * (7.0 + 40.0))
