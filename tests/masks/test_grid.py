# SPDX-License-Identifier: MIT
"""Where masks are made, which shares a grid can have, and the way from cells to pixels."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from mixmask_solo.masks import blocked, discrete, upsample
from mixmask_solo.masks.grid import resolve_device

SIZES = st.integers(1, 40)


@given(st.integers(2, 9), SIZES, SIZES, st.integers(0, 2**31))
def test_pixels_read_the_cell_they_lie_in(grid: int, height: int, width: int, seed: int) -> None:
    mask = torch.rand(2, grid, grid, generator=torch.Generator().manual_seed(seed)) < 0.5
    pixels = upsample(mask, (height, width))
    expected = [
        [
            [bool(m[r * grid // height, c * grid // width]) for c in range(width)]
            for r in range(height)
        ]
        for m in mask
    ]
    assert pixels.tolist() == [[image] for image in expected]


@pytest.mark.parametrize("case", ["block4", "block8", "block7", "discrete4"])
def test_published_masks(golden: Any, case: str) -> None:
    file = golden("mixmask_images")
    mask = upsample(torch.from_numpy(file[f"{case}_grid"])[None], (32, 32))
    assert torch.equal(mask[0, 0], torch.from_numpy(file[f"{case}_mask"]))
    assert abs(float(mask.float().mean()) - float(file[f"{case}_lam"])) < 1e-7


def test_cells_of_unequal_size() -> None:
    """48 cells on 224 pixels: 32 rows of five pixels, 16 of four."""
    mask = torch.zeros(1, 48, 48, dtype=torch.bool)
    mask[0, 0, 0] = True
    assert int(upsample(mask, (224, 224)).sum()) == 25


def test_another_number_of_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="need"):
        upsample(torch.ones(4, 4), (8, 8))


def test_masks_lie_where_they_are_asked_for_or_where_the_generator_is() -> None:
    ahead = torch.Generator().manual_seed(0)
    assert resolve_device(None, ahead) == resolve_device(None, None) == torch.device("cpu")
    assert resolve_device("cpu", ahead) == torch.device("cpu")
    assert resolve_device("cuda:1", None) == torch.device("cuda", 1)
    for draw in (blocked, discrete):
        with pytest.raises(ValueError, match="generator lives on cpu, but device is meta"):
            draw(2, 4, generator=ahead, device="meta")


@given(st.integers(2, 6), st.floats(-0.2, 1.2))
@example(4, 1.0)
def test_a_share_is_taken_where_it_leaves_cells_to_both_images(grid: int, ratio: float) -> None:
    """At least one whole cell is the own image's, and at least one the partner's."""
    cells = grid * grid
    allowed = any(kept <= ratio * cells < kept + 1 for kept in range(1, cells))
    for draw in (blocked, discrete):
        if allowed:
            assert draw(3, grid, ratio).shape == (3, grid, grid)
        else:
            with pytest.raises(ValueError, match=r"^ratio is -?\d.*(within \(0, 1\)|choose from)"):
                draw(3, grid, ratio)


@pytest.mark.parametrize("grid", [2, 3, 7, 8, 16, 24])
def test_the_least_share_that_is_told_is_taken_and_is_hardly_too_much(grid: int) -> None:
    with pytest.raises(ValueError, match=r"choose from [\d.]+ up to, but below, 1$") as error:
        blocked(1, grid, 0.9 / grid**2)
    told = float(re.findall(r"choose from ([\d.]+)", str(error.value))[0])
    assert discrete(1, grid, told).shape == blocked(1, grid, told).shape == (1, grid, grid)
    assert 0 <= told - 1 / grid**2 < 1e-5


def test_shares_of_single_masks_may_reach_both_ends_and_not_beyond() -> None:
    for draw in (blocked, discrete):
        assert draw(2, 4, torch.tensor([0.0, 1.0])).shape == (2, 4, 4)
        for wrong in (-0.01, 1.01, float("nan")):
            with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
                draw(2, 4, torch.tensor([0.5, wrong]))
