# SPDX-License-Identifier: MIT
"""Sizes of proposed blocks, the alias method and bit counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks.alias import alias_table
from mixmask_solo.masks.arrays import popcount, swar_popcount
from mixmask_solo.masks.proposal import draw_sides, minimum_area, side_probabilities


@pytest.mark.parametrize(("grid", "room"), [(8, 32), (8, 4), (8, 2), (4, 8), (3, 1), (3, 4)])
def test_the_table_of_sides_is_what_drawing_them_gives(grid: int, room: int) -> None:
    n, low = 200_000, minimum_area(grid)
    generator = torch.Generator().manual_seed(room)
    height, width = draw_sides(torch.full((n,), room), low, generator)
    assert int(torch.stack([height, width]).min()) >= 1
    inside = (height < grid) & (width < grid)
    code = height[inside] * grid + width[inside]
    counts = torch.bincount(code, minlength=grid * grid).view(grid, grid)[1:, 1:]
    expected = side_probabilities(grid, low)[room]
    error = (expected * (1 - expected) / n).sqrt()
    assert ((counts / n - expected).abs() <= 5 * error + 3e-5).all()
    assert abs(float(expected.sum()) - float(inside.float().mean())) < 0.006


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60).filter(lambda p: sum(p) > 1e-3))
def test_alias_table_gives_the_distribution_back(weights: list[float]) -> None:
    p = torch.tensor(weights, dtype=torch.float64)
    p /= p.sum()
    threshold, alias = alias_table(p)
    assert float(threshold.min()) >= 0
    assert float(threshold.max()) <= 1
    again = threshold.clone()
    again.index_add_(0, alias, 1 - threshold)
    assert torch.allclose(again / len(p), p, atol=1e-12)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_popcount_counts_the_sign_bit_on_arrays_and_tensors(numbers: list[int]) -> None:
    expected = [bin(number & (2**64 - 1)).count("1") for number in numbers]
    array = np.array(numbers, dtype=np.int64)
    for bits in (popcount(array), swar_popcount(array), popcount(torch.from_numpy(array))):
        assert bits.tolist() == expected
