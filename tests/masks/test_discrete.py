# SPDX-License-Identifier: MIT
"""Laws of discrete masks; their distribution is tested beside the blocked ones'."""

from __future__ import annotations

from math import comb

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.masks import discrete


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 9), st.integers(2, 12), st.floats(0, 1), st.integers(0, 2**31))
def test_never_empty_never_full_whatever_the_ratio(
    n: int, grid: int, ratio: float, seed: int
) -> None:
    masks = discrete(n, grid, torch.full((n,), ratio), generator=seeded(seed))
    assert masks.shape == (n, grid, grid)
    assert masks.dtype == torch.bool
    kept = masks.sum((1, 2))
    assert 1 <= int(kept.min()) <= int(kept.max()) < grid**2
    again = discrete(n, grid, torch.full((n,), ratio), generator=seeded(seed))
    assert torch.equal(masks, again)


def test_ratio_is_the_own_share_per_mask() -> None:
    ratio = torch.tensor([0.1, 0.5, 0.9]).repeat(3000)
    share = discrete(9000, 8, ratio, generator=seeded(0)).float().mean((1, 2)).view(3000, 3)
    assert torch.allclose(share.mean(0), torch.tensor([0.1, 0.5, 0.9]), atol=0.01)


def test_redrawing_moves_the_share_of_two_by_two_masks_as_computed() -> None:
    share = discrete(40_000, 2, 0.25, generator=seeded(0)).float().mean((1, 2))
    assert abs(float(share.mean()) - (1 - 0.638)) < 0.005


def kept_as_published(p: float, cells: int) -> Tensor:
    """How many cells an independent draw keeps, given that it keeps some and not all."""
    weight = [comb(cells, k) * p**k * (1 - p) ** (cells - k) for k in range(1, cells)]
    return torch.tensor(weight, dtype=torch.float64) / sum(weight)


@pytest.mark.parametrize("grid", [2, 3])
@pytest.mark.parametrize("ratio", [0.001, 0.05, 0.2, 0.5, 0.9, 0.999])
def test_extreme_ratios_are_redrawn_as_published_not_made_milder(grid: int, ratio: float) -> None:
    n, cells = 20_000, grid**2
    masks = discrete(n, grid, torch.full((n,), ratio), generator=seeded(1))
    seen = masks.sum((1, 2)).bincount(minlength=cells)[1:cells] / n
    expected = kept_as_published(ratio, cells)
    assert (seen - expected).abs().max() < 4.5 * (0.25 / n) ** 0.5
    each = masks.double().mean(0)  # no cell is preferred
    assert (each - each.mean()).abs().max() < 4.5 * (0.25 / n) ** 0.5


def test_table_1s_ratios_from_0_to_1() -> None:
    """Two by two cells, ratio uniform: what redrawing gives on average over all ratios."""
    n = 40_000
    ratio = torch.rand(n, generator=seeded(2))
    seen = discrete(n, 2, ratio, generator=seeded(3)).sum((1, 2)).bincount(minlength=4)[1:] / n
    grid = [(i + 0.5) / 2000 for i in range(2000)]
    expected = torch.stack([kept_as_published(p, 4) for p in grid]).mean(0)
    assert (seen - expected).abs().max() < 4.5 * (0.25 / n) ** 0.5


@pytest.mark.parametrize(("grid", "ratio"), [(8, 0.01), (2, 0.2), (4, 1.0), (8, 0.0), (1, 0.5)])
def test_impossible_requests_are_refused(grid: int, ratio: float) -> None:
    with pytest.raises(ValueError, match=r"ratio is|grid >= 2"):
        discrete(4, grid, ratio)
