# SPDX-License-Identifier: MIT
"""Cells drawn by number, windows drawn by place."""

from collections import Counter
from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import chosen, patches, upsample, window


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(-2, 40), st.integers(0, 2**31))
def test_as_many_as_asked_for_of_those_that_may(
    rows: int, columns: int, count: int, seed: int
) -> None:
    among = torch.rand(4, 3, rows, columns, generator=seeded(seed)) < 0.6
    counts = count - torch.arange(12).view(4, 3)
    mask = chosen(among, counts, generator=seeded(seed))
    assert not (mask & ~among).any()
    available = among.sum((2, 3))
    assert torch.equal(mask.sum((2, 3)), counts.clamp(min=0).minimum(available))
    one = chosen(among, count, generator=seeded(seed))
    assert torch.equal(one.sum((2, 3)), available.clamp(max=max(count, 0)))


def test_every_set_is_as_likely_as_any_other() -> None:
    """Two of five cells: ten sets, each within five deviations of a tenth."""
    n, among = 20_000, torch.tensor([[True, True, False], [True, True, True]])
    mask = chosen(among.expand(n, 2, 3), 2, generator=seeded())
    found = Counter(tuple(row.nonzero()[:, 0].tolist()) for row in mask.flatten(1))
    assert found.keys() == set(combinations([0, 1, 3, 4, 5], 2))
    assert all(abs(k - n / 10) < 5 * (n * 0.1 * 0.9) ** 0.5 for k in found.values())


def test_windows_lie_anywhere_inside() -> None:
    """Side 3 in 5x4 pixels: three times two places, equally likely."""
    n = 12_000
    mask = window(n, (5, 4), 3, generator=seeded())
    assert mask.shape == (n, 1, 5, 4)
    assert (mask.sum((1, 2, 3)) == 9).all()
    corners = mask.flatten(1).int().argmax(1)
    found = torch.bincount(corners, minlength=20).view(5, 4)
    assert (found[:3, :2] - n / 6).abs().max() < 5 * (n / 6 * 5 / 6) ** 0.5
    row, column = corners // 4, corners % 4
    assert mask[torch.arange(n), 0, row + 2, column + 2].all()


@pytest.mark.parametrize("side", [0, 5])
def test_a_window_beyond_the_image_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=r"need 1 to 4 pixels, within 5x4"):
        window(1, (5, 4), side)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_patches_have_their_side_in_pixels(height: int, width: int, side: int) -> None:
    rows, columns = patches((height, width), side)
    cells = torch.arange(rows * columns).view(1, 1, rows, columns)
    pixels = upsample(cells, (height, width), side)[0, 0]
    for r, c in [(0, 0), (height - 1, width - 1), (height // 2, width // 3)]:
        assert pixels[r, c] == (r // side) * columns + c // side


def test_cells_that_do_not_cover_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"224x200 pixels in patches of 32 are \(7, 7\) cells"):
        upsample(torch.ones(1, 8, 8), (224, 200), 32)
