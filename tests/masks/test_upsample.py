# SPDX-License-Identifier: MIT
"""Nearest upsampling and pixel shares against a pixel loop and the published masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import own_share, upsample

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
    assert torch.allclose(own_share(mask, (height, width)), pixels.float().mean((1, 2, 3)))


@pytest.mark.parametrize("case", ["block4", "block8", "block7", "discrete4"])
def test_published_masks(golden: Any, case: str) -> None:
    file = golden("mixmask_images")
    grid = torch.from_numpy(file[f"{case}_grid"])[None]
    assert torch.equal(upsample(grid, (32, 32))[0, 0], torch.from_numpy(file[f"{case}_mask"]))
    assert abs(float(own_share(grid, (32, 32))) - float(file[f"{case}_lam"])) < 1e-7


def test_share_of_cells_of_unequal_size() -> None:
    """48 cells on 224 pixels: 32 rows of five pixels, 16 of four."""
    mask = torch.zeros(1, 48, 48, dtype=torch.bool)
    mask[0, 0, 0] = True
    assert float(own_share(mask, (224, 224))) == pytest.approx(25 / 224**2)


def test_another_number_of_axes_is_refused() -> None:
    for call in (upsample, own_share):
        with pytest.raises(ValueError, match="need"):
            call(torch.ones(4, 4), (8, 8))
