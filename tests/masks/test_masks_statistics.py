# SPDX-License-Identifier: MIT
"""Distributions against 20,000 masks of the published code and against its algorithm as a loop.

Bounds: two samples may differ by five standard errors of their difference (cells, adjacent pairs);
counts of kept cells are compared by a chi-square test at 1e-6. Seeds are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2_contingency

from mixmask_solo.masks import blocked, discrete

N = 40_000


def sample(
    draw: Callable[..., torch.Tensor], grid: int, ratio: float, n: int = N
) -> np.ndarray[Any, Any]:
    return draw(n, grid, ratio, generator=torch.Generator().manual_seed(grid)).numpy()


def same_counts(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> bool:
    """Chi-square on two histograms, bins with fewer than 20 masks pooled."""
    table = np.stack([ours, theirs])
    rare = table.sum(0) < 20
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], 1)
    table = table[:, table.sum(0) > 0]
    return table.shape[1] == 1 or chi2_contingency(table).pvalue > 1e-6


def assert_like_golden(masks: np.ndarray[Any, Any], stats: dict[str, Any]) -> None:
    cells = masks.shape[1] ** 2
    kept = masks.sum((1, 2))
    assert np.abs(masks.mean(0) - stats["cell_mean"]).max() < 0.02
    ours, theirs = np.bincount(kept, minlength=cells + 1), stats["count_hist"]
    assert same_counts(ours, theirs)
    assert abs(kept.mean() / cells - stats["mean_ratio"]) < 5 * (kept.std() / cells) * np.sqrt(
        1 / N + 1 / 20_000
    )
    pairs_h, pairs_v = masks[:, :, :-1] & masks[:, :, 1:], masks[:, :-1] & masks[:, 1:]
    for pairs, key in ((pairs_h, "adjacent_h"), (pairs_v, "adjacent_v")):
        share = pairs.mean((1, 2))
        error = share.std() * np.sqrt(1 / N + 1 / 20_000)
        assert abs(share.mean() - stats[key]) < 5 * error


def of_case(file: dict[str, Any], prefix: str) -> dict[str, Any]:
    keys = ("cell_mean", "count_hist", "mean_ratio", "adjacent_h", "adjacent_v")
    return {key: file[f"{prefix}_{key}"] for key in keys}


@pytest.mark.parametrize("alt", [False, True])
@pytest.mark.parametrize("grid", [4, 8, 16])
def test_blocked_masks_are_distributed_as_published(golden: Any, grid: int, alt: bool) -> None:
    file = golden("masks_stats")
    ratio = float(file["alt_ratio"] if alt else file["ratio"])
    stats = of_case(file, f"block_g{grid}" + "_alt" * alt)
    assert_like_golden(sample(blocked, grid, ratio), stats)


@pytest.mark.parametrize("alt", [False, True])
@pytest.mark.parametrize("grid", [4, 8, 16])
def test_discrete_masks_are_distributed_as_published_with_the_ratio_turned(
    golden: Any, grid: int, alt: bool
) -> None:
    file = golden("masks_stats")
    ratio = 1 - float(file["alt_ratio"] if alt else file["ratio"])
    stats = of_case(file, f"discrete_g{grid}" + "_alt" * alt)
    assert_like_golden(sample(discrete, grid, ratio), stats)


@pytest.mark.parametrize(("grid", "ratio"), [(5, 0.5), (6, 0.3), (7, 0.8), (8, 0.06), (12, 0.4)])
def test_blocked_masks_are_distributed_as_those_of_the_loop(
    loop: Callable[[int, int, float], np.ndarray[Any, Any]], grid: int, ratio: float
) -> None:
    n, cells = 4000, grid * grid
    ours, theirs = sample(blocked, grid, ratio), loop(n, grid, ratio)
    spread = np.sqrt(theirs.mean(0) * (1 - theirs.mean(0)) * (1 / n + 1 / N))
    assert (np.abs(ours.mean(0) - theirs.mean(0)) < 5 * spread + 1e-3).all()
    counts = [np.bincount(m.sum((1, 2)), minlength=cells + 1) for m in (ours, theirs)]
    assert same_counts(*counts)
    pairs = [(m[:, :, :-1] & m[:, :, 1:]).mean((1, 2)) for m in (ours.astype(int), theirs)]
    error = pairs[0].std() * np.sqrt(1 / n + 1 / N)
    assert abs(pairs[0].mean() - pairs[1].mean()) < 5 * error


def test_two_by_two_blocked_masks_are_usable_and_fair() -> None:
    masks = sample(blocked, 2, 0.5)
    code = (masks.reshape(N, 4) * [1, 2, 4, 8]).sum(1)
    counts = np.bincount(code, minlength=16)
    assert counts[0] == 0  # 94 % of the published ones
    two = counts[[3, 5, 6, 9, 10, 12]]
    assert two.sum() > 0.98 * N
    assert np.abs(two / two.sum() - 1 / 6).max() < 5 * np.sqrt(5 / 36 / N)


def test_small_grids_get_no_empty_mask() -> None:
    for grid, ratio in ((2, 0.25), (2, 0.75), (3, 0.5), (3, 0.9)):
        kept = sample(blocked, grid, ratio, 5000).sum((1, 2))
        assert kept.min() >= 1
        assert kept.mean() > 0.85 * int(ratio * grid**2)
