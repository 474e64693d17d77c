# SPDX-License-Identifier: MIT
"""Laws of blocked masks, and of the blocks they are made of."""

from __future__ import annotations

import importlib
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import blocked

BLOCKED = importlib.import_module("mixmask_solo.masks.blocked")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def requests(draw: Any) -> tuple[int, int, float, int]:
    """n, grid, a ratio that leaves something to mix, and a seed."""
    grid = draw(st.integers(2, 20))
    cells = draw(st.integers(1, grid**2 - 1))
    share = cells / grid**2 * (1 + 1e-9)  # the floor of share * cells is cells, not one less
    return draw(st.integers(1, 9)), grid, share, draw(st.integers(0, 2**31))


@given(requests())
def test_shape_limit_and_repeatability(request: tuple[int, int, float, int]) -> None:
    n, grid, ratio, seed = request
    masks = blocked(n, grid, ratio, generator=seeded(seed))
    assert masks.shape == (n, grid, grid)
    assert masks.dtype == torch.bool
    kept = masks.sum((1, 2))
    assert int(kept.max()) <= math.floor(ratio * grid**2)
    if grid < 4:
        assert int(kept.min()) >= 1
    assert torch.equal(masks, blocked(n, grid, ratio, generator=seeded(seed)))


@given(st.integers(2, 12), st.integers(0, 2**31))
def test_a_ratio_per_mask_is_an_upper_bound_and_never_the_whole_image(grid: int, seed: int) -> None:
    """A share of less than a cell is an empty mask, as published; not on grids below 4, ours."""
    ratio = torch.tensor([0.0, 1.0, 0.5, 0.26, 0.9 / grid**2])
    kept = blocked(5, grid, ratio, generator=seeded(seed)).sum((1, 2))
    lowest = 1 if grid < 4 else 0
    limit = (ratio.double() * grid**2).floor().clamp(lowest, grid**2 - 1)
    assert (kept <= limit).all()
    assert int(kept.min()) == lowest


def test_a_tensor_of_equal_ratios_is_the_same_as_the_number() -> None:
    one = blocked(50, 8, 0.25, generator=seeded(1))
    assert torch.equal(one, blocked(50, 8, torch.full((50,), 0.25), generator=seeded(1)))


def test_masks_of_one_call_and_of_two_seeds_differ() -> None:
    masks = blocked(64, 8, generator=seeded(0))
    assert len(masks.flatten(1).unique(dim=0)) == 64
    assert not torch.equal(masks, blocked(64, 8, generator=seeded(1)))


def test_large_grids() -> None:
    grid = 130
    masks = blocked(20, grid, 0.5, generator=seeded(0))
    share = masks.float().mean((1, 2))
    assert 0.45 < float(share.min()) <= float(share.max()) <= 0.5
    edges = torch.cat([masks[:, :, :2], masks[:, :, -2:]], 2).float().mean()
    middle = masks[:, grid // 4 : -grid // 4, grid // 4 : -grid // 4].float().mean()
    assert middle > edges + 0.2  # the bias of the published masks


@pytest.mark.parametrize("room", [1, 4, 100])
@pytest.mark.parametrize("grid", [2, 3, 4, 6, 8, 12])
def test_every_block_is_a_rectangle_inside_that_spans_no_side(grid: int, room: int) -> None:
    blocks = BLOCKED._propose(torch.full((2000,), min(room, grid**2 - 1)), grid, seeded(0))
    height, width = blocks.any(2).sum(1), blocks.any(1).sum(1)
    assert torch.equal(blocks.sum((1, 2)), height * width)  # no holes, no gaps
    assert 1 <= int(height.max()) < grid
    assert 1 <= int(width.max()) < grid


@pytest.mark.gpu
def test_masks_on_a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for grid in (2, 8, 16):
        generator = torch.Generator("cuda").manual_seed(0)
        masks = blocked(4000, grid, generator=generator)
        assert masks.device.type == "cuda"
        host = blocked(4000, grid, generator=seeded(0))
        assert (masks.float().mean(0).cpu() - host.float().mean(0)).abs().max() < 0.06


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((0, 8), "n >= 1"),
        ((4, 1), "grid >= 2"),
        ((4, 8, 0.01), "keeps 0"),
        ((4, 8, 1.0), "keeps 64"),
        ((4, 8, -0.5), "within"),
        ((4, 2, 0.2), "keeps 0"),
        ((4, 8, torch.rand(3)), r"shape \(4,\)"),
        ((4, 8, torch.ones(4, dtype=torch.int64)), "floating-point"),
        ((4, 8, torch.tensor([0.5, 0.5, 0.5, 1.5])), "outside"),
    ],
)
def test_impossible_requests_are_refused(args: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        blocked(*args)
    assert "\n" not in str(error.value)
