# SPDX-License-Identifier: MIT
"""Nearest upsampling against a pixel loop and the published masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import upsample

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
