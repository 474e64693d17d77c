# SPDX-License-Identifier: MIT
"""MSCN's masks: how much is hidden where, in which channels, and what a window keeps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.masks import patch_or_focal

N, SIZE, PATCH = 4000, 12, 4  # nine cells
CELLS = (SIZE // PATCH) ** 2


def draw(n: int = N, seed: int = 0, **changes: Any) -> Tensor:
    options: dict[str, Any] = {
        **{"patch_size": PATCH, "ratio": [0.3, 0.3], "focal": 0.0, "focal_size": 8},
        **{"channel_wise": 0.0, "generator": torch.Generator().manual_seed(seed)},
    }
    return patch_or_focal(n, 3, SIZE, SIZE, **{**options, **changes})


def cells(mask: Tensor) -> Tensor:
    """``(n, 3, 9)`` bool, True = hidden; every cell is hidden wholly or not at all."""
    n = len(mask)
    split = mask.view(n, 3, 3, PATCH, 3, PATCH).transpose(3, 4).reshape(n, 3, CELLS, -1)
    assert bool((split == split[..., :1]).all())
    return ~split[..., 0]


def close(found: Tensor, share: float, n: int = N) -> bool:
    """Within five deviations of a binomial's mean share."""
    return bool(((found - share).abs() <= 5 * (share * (1 - share) / n) ** 0.5).all())


@pytest.mark.parametrize("channel_wise", [0.0, 1.0])
def test_every_cell_is_hidden_in_its_share_of_the_masks(channel_wise: float) -> None:
    hidden = cells(draw(channel_wise=channel_wise))
    assert close(hidden.float().mean(0), 0.3)  # 3 x 9 of them
    assert hidden.sum(-1).unique().tolist() == [2, 3]  # 2.7 cells on average, in every channel
    assert bool((hidden.sum(-1) == hidden.sum(-1)[:, :1]).all())
    same = (hidden == hidden[:, :1]).all(-1).all(-1)
    # Of the 36 or 84 sets of cells two channels seldom draw the same one.
    assert bool(same.all()) if channel_wise == 0.0 else same.float().mean() < 0.01


def test_channels_of_their_own_hide_independently() -> None:
    """Cell by cell: both hidden in 0.3 · 0.3 of the masks."""
    hidden = cells(draw(channel_wise=1.0))
    both = (hidden[:, 0] & hidden[:, 1]).float().mean(0)
    assert close(both, 0.09)


def test_a_mixture_of_kinds_comes_in_the_given_shares() -> None:
    mask = draw(focal=0.4, channel_wise=0.7)
    focal = (mask.flatten(1).sum(1) == 3 * 64) & (mask[:, 0].flatten(1).sum(1) == 64)
    grid = cells(mask[~focal])
    assert close(focal.float().mean(), 0.4)
    differ = (grid != grid[:, :1]).any(-1).any(-1).float().mean()
    assert close(differ, 0.7, len(grid) // 2)  # a little less: alike by chance


@pytest.mark.parametrize("side", [1, 5, 12])
def test_a_window_lies_anywhere_within_the_image(side: int) -> None:
    shown = draw(focal=1.0, focal_size=side)
    assert bool((shown == shown[:, :1]).all())
    for line in (shown[:, 0].any(1), shown[:, 0].any(2)):
        first = line.float().argmax(1)
        assert bool((line.sum(1) == side).all())
        places = SIZE - side + 1
        assert close(torch.bincount(first, minlength=places) / N, 1 / places)
    assert bool((shown[:, 0].flatten(1).sum(1) == side**2).all())


def test_a_share_is_drawn_evenly_from_its_range() -> None:
    hidden = cells(draw(ratio=[0.0, 0.9]))[:, 0].sum(1)
    share = torch.bincount(hidden, minlength=CELLS + 1) / N
    # u · 8.1 rounded by chance: a triangle around each whole number, the ends are half ones.
    assert close(share[1:8], 1 / 8.1)
    assert close(share[0], 0.5 / 8.1)
    assert close(hidden.float().mean() / CELLS, 0.45)


@given(
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    patch=st.integers(1, 9),
    ratio=st.floats(0.0, 0.99),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_size_hides_a_whole_number_of_cells_next_to_the_share(
    size: tuple[int, int], patch: int, ratio: float, seed: int
) -> None:
    options: dict[str, Any] = {
        **{"patch_size": patch, "ratio": [ratio, ratio], "focal": 0.0, "focal_size": 1},
        **{"channel_wise": 1.0, "generator": torch.Generator().manual_seed(seed)},
    }
    mask = patch_or_focal(3, 2, *size, **options)
    assert mask.shape == (3, 2, *size)
    corners = ~mask[:, :, ::patch, ::patch]  # a pixel of each cell, cut ones included
    spread = corners.repeat_interleave(patch, 2).repeat_interleave(patch, 3)
    assert torch.equal(spread[:, :, : size[0], : size[1]], ~mask)
    count = corners.flatten(2).sum(2)
    exact = ratio * corners[0, 0].numel()
    assert bool(((count - exact).abs() < 1 + 1e-4).all())


def test_a_probability_changes_the_masks_it_is_about_and_no_others() -> None:
    plain, some = draw(200, channel_wise=0.5), draw(200, channel_wise=0.5, focal=0.4)
    kept = (plain == some).flatten(1).all(1)
    assert 90 < int(kept.sum()) < 150  # 120 expected, σ = 7
    assert torch.equal(draw(200, focal=0.4, seed=1), draw(200, focal=0.4, seed=1))
    assert not torch.equal(draw(200, seed=1), draw(200, seed=2))


def test_nothing_is_hidden_where_nothing_is_asked_for() -> None:
    assert bool(draw(ratio=[0.0, 0.0]).all())
    assert bool(draw(focal=1.0, focal_size=SIZE).all())
