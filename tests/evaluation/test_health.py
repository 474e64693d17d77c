# SPDX-License-Identifier: MIT
"""Figures of embeddings against NumPy, and the laws they obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.evaluation.health import (
    COLLAPSED,
    DIMENSIONAL,
    alignment,
    embedding_std,
    rankme,
    uniformity,
    verdict,
)

SHAPES = st.tuples(st.integers(2, 40), st.integers(1, 12))
SEEDS = st.integers(0, 2**31 - 1)


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotation(seed: int, d: int) -> Tensor:
    q: Tensor = torch.linalg.qr(drawn(seed, d, d))[0]
    return q


def numpy_rank(z: Tensor) -> float:
    sigma = np.linalg.svd(z.double().numpy(), compute_uv=False)
    p = sigma / sigma.sum() + 1e-7
    return float(np.exp(-np.sum(p * np.log(p))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rank_is_numpys_on_collapsed_partial_and_full_examples(dtype: torch.dtype) -> None:
    line = drawn(0, 300, 1) @ drawn(1, 1, 24)
    plane = drawn(2, 300, 5) @ drawn(3, 5, 24)
    tolerance = 1e-3 if dtype == torch.float32 else 1e-9
    for z, low, high in ((line, 1.0, 1.01), (plane, 4.0, 5.01), (drawn(4, 300, 24), 23.0, 24.0)):
        found = rankme(z.to(dtype))
        assert found.dtype == dtype
        assert float(found) == pytest.approx(numpy_rank(z), rel=tolerance)
        assert low <= float(found) <= high


def test_a_full_rank_with_equal_singular_values_is_the_dimension() -> None:
    z = torch.linalg.qr(drawn(5, 64, 16))[0] * 7.0
    assert float(rankme(z)) == pytest.approx(16.0, rel=1e-5)


def test_equal_rows_and_zeros_have_rank_one() -> None:
    assert float(rankme(torch.ones(50, 8))) == pytest.approx(1.0, abs=1e-3)
    assert float(rankme(torch.zeros(50, 8))) == pytest.approx(1.0, abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_rank_knows_neither_rotation_nor_scale(
    shape: tuple[int, int], seed: int, scale: float
) -> None:
    z = drawn(seed, *shape)
    rank = float(rankme(z))
    assert 1.0 - 1e-5 <= rank <= min(shape) * (1 + 1e-4)
    assert float(rankme(scale * z @ rotation(seed + 1, shape[1]))) == pytest.approx(rank, rel=1e-6)


@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, seed=SEEDS, scale=st.floats(1e-3, 1e3))
def test_alignment_is_a_mean_of_squared_distances(
    shape: tuple[int, int], seed: int, scale: float
) -> None:
    x, y = drawn(seed, *shape), drawn(seed + 1, *shape)
    assert float(alignment(x, scale * x)) == pytest.approx(0.0, abs=1e-12)
    assert float(alignment(x, -x)) == pytest.approx(4.0)
    unit = [v / v.norm(dim=1, keepdim=True) for v in (x, y)]
    slow = sum(float(((a - b) ** 2).sum()) for a, b in zip(*unit, strict=True)) / shape[0]
    assert float(alignment(x, y)) == pytest.approx(slow)


@settings(deadline=None, max_examples=50)
@given(shape=SHAPES, seed=SEEDS, rows=st.integers(1, 50))
def test_uniformity_is_the_mean_over_pairs_whatever_the_pieces(
    shape: tuple[int, int], seed: int, rows: int
) -> None:
    z = drawn(seed, *shape)
    n = shape[0]
    unit = torch.nn.functional.normalize(z, dim=1)
    near = [
        math.exp(-2 * float(((unit[i] - unit[j]) ** 2).sum())) for i in range(n) for j in range(i)
    ]
    found = float(uniformity(z, rows=rows))
    assert found == pytest.approx(math.log(sum(near) / len(near)), abs=1e-9)
    assert -4 * n / (n - 1) - 1e-9 <= found <= 1e-12
    assert float(uniformity(z[:1].expand(n, -1))) == pytest.approx(0.0, abs=1e-9)


def test_of_two_opposite_rows_uniformity_has_its_lowest_value() -> None:
    assert float(uniformity(torch.tensor([[1.0, 0.0], [-3.0, 0.0]]))) == pytest.approx(-8.0)


def test_std_of_spread_and_of_equal_rows() -> None:
    spread = drawn(6, 4000, 64)
    assert float(embedding_std(spread)) == pytest.approx(1 / 8, rel=0.01)
    assert float(embedding_std(torch.ones(9, 64))) == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_measured_in_float32(dtype: torch.dtype) -> None:
    half, other = drawn(7, 64, 16).to(dtype), drawn(8, 64, 16).to(dtype)
    for measure in (rankme, uniformity, embedding_std):
        assert measure(half).dtype == torch.float32
        assert torch.equal(measure(half), measure(half.float()))
    assert torch.equal(alignment(half, other), alignment(half.float(), other.float()))


def test_verdicts() -> None:
    def of(z: Tensor) -> str:
        return verdict(float(embedding_std(z)), float(rankme(z)), *z.shape)

    spread = drawn(9, 500, 64)
    assert of(spread) == ""
    assert of(torch.ones(500, 64) + 1e-3 * spread) == COLLAPSED
    # opposite directions of one line: the spread of a healthy embedding, no rank
    line = drawn(10, 500, 1).sign() * drawn(11, 1, 64) + 1e-3 * spread
    assert float(embedding_std(line)) > 0.8 / 8
    assert of(line) == COLLAPSED
    assert verdict(float(embedding_std(line)), None, *line.shape) == ""
    assert of(drawn(12, 500, 2) @ drawn(13, 2, 64)) == DIMENSIONAL
    # where images are few, they are what the rank is compared with
    assert of(drawn(14, 20, 512)) == ""
