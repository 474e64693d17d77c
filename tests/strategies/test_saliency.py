# SPDX-License-Identifier: MIT
"""What saliency-guided masking masks: foreground, counts, places, windows, fillings."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from mixmask_solo.fills import blur, high_pass
from mixmask_solo.masks import salient
from mixmask_solo.strategies import Step, Views, build_strategies, input_filter
from mixmask_solo.strategies.saliency import Saliency
from support.saliency import block

Build = Callable[..., Saliency]
SIZE, CELLS = 28, 7  # cells of 4 pixels, as many of them as at 224


@pytest.fixture(scope="module")
def build(weights: Path) -> Build:
    """``build(fill="mean", ...)``: the strategy of a run of MoCo v2."""

    @cache
    def made(method: str, crop_size: int, options: str) -> Saliency:
        cfg = {
            "method": method,
            "method_kwargs": {"saliency": block(weights, **json.loads(options))},
            "data": {"dataset": "imagenet"},
            "augmentations": [{"crop_size": crop_size}],
        }
        [strategy] = build_strategies(OmegaConf.create(cfg))
        assert isinstance(strategy, Saliency)
        return strategy

    def make(method: str = "mocov2", crop_size: int = 32, **options: Any) -> Saliency:
        return made(method, crop_size, json.dumps(options))

    return make


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, size: int = SIZE) -> Tensor:
    """No two pixels alike."""
    return torch.randn(n, 3, size, size, generator=drawn(9))


def lost(before: Tensor, after: Tensor, cells: int = CELLS) -> Tensor:
    """``(N, C, cells, cells)`` bool: the cells with other pixels; every one is lost wholly."""
    n, c, height, width = before.shape
    shape = (n, c, cells, height // cells, cells, width // cells)
    other = (before != after).view(shape).transpose(3, 4).flatten(4)
    assert torch.equal(other.any(-1), other.all(-1))
    return other.any(-1)


def some(n: int, counts: list[int] | None = None, seed: int = 1) -> Tensor:
    """``(N, 7, 7)`` bool, with ``counts`` cells or any number."""
    order = torch.rand(n, CELLS**2, generator=drawn(seed)).argsort(-1).argsort(-1)
    number = torch.tensor(counts or [(7 * i) % 50 for i in range(n)])
    return (order < number[:, None]).view(n, CELLS, CELLS)


def test_foreground_is_the_documented_rule_and_not_what_the_public_code_returns(
    golden: Any,
) -> None:
    """Oddity 1: there each row of the map is sorted before it is asked."""
    file = golden("saliency_fg")
    maps = torch.from_numpy(file["activations"]).sum(2)
    torch.testing.assert_close(maps, torch.from_numpy(file["saliency_map"]).to(maps.dtype))
    for crop, intended, coded in zip(maps, file["fg_intended"], file["fg_as_coded"], strict=True):
        ours = salient(crop).numpy()
        assert np.array_equal(ours, intended.astype(bool))
        assert not np.array_equal(ours, coded.astype(bool))
        assert np.array_equal(salient(crop.sort(-1).values).numpy(), coded.astype(bool))
        above = salient(crop, below=0.0).numpy()
        assert np.array_equal(above, crop.numpy() >= crop.mean((1, 2), keepdim=True).numpy())


@given(seed=st.integers(0, 999), scale=st.floats(0.1, 50), shift=st.floats(-9, 9))
def test_foreground_keeps_its_place_and_does_not_know_units(
    seed: int, scale: float, shift: float
) -> None:
    maps = torch.randn(3, 5, 4, generator=drawn(seed), dtype=torch.float64)
    found = salient(maps)
    assert found.flatten(1).any(1).all()
    order = torch.randperm(20, generator=drawn(seed))
    moved = maps.flatten(1)[:, order].view(3, 4, 5)
    assert torch.equal(salient(moved).flatten(1), found.flatten(1)[:, order])
    assert torch.equal(salient(scale * maps + shift), found)
    for one, ours in zip(maps, found, strict=True):
        values = one.flatten().tolist()
        mean = math.fsum(values) / 20
        bound = mean - 0.6 * math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 20)
        assert [v >= bound for v in values] == ours.flatten().tolist()


def test_a_map_without_contrast_is_all_foreground() -> None:
    assert salient(torch.full((2, 7, 7), 0.1)).all()


@given(
    counts=st.lists(st.integers(0, 49), min_size=1, max_size=6),
    seed=st.integers(0, 99),
    bounds=st.sampled_from([(0.05, 0.25), (0.0, 1.0), (0.7, 0.7)]),
)
def test_how_many_cells_a_query_loses(
    build: Build, counts: list[int], seed: int, bounds: tuple[float, float]
) -> None:
    strategy = build(fill="mean", ratio=list(bounds))
    front = some(len(counts), counts, seed)
    x = images(len(counts))
    masks = lost(x, strategy.query(x, front, drawn(seed)))
    low, high = (np.float32(b) for b in bounds)
    shares = low + (high - low) * torch.rand(len(counts), generator=drawn(seed)).numpy()
    for mask, own, share in zip(masks, front, shares, strict=True):
        assert torch.equal(mask[0], mask[1])
        assert torch.equal(mask[0], mask[2])
        fore, back = int(own.sum()), int((~own).sum())
        wanted = min(round(float(share * np.float32(fore))), fore)
        rest = max(math.floor(float(share * np.float32(49))) - wanted, 0)
        assert int((mask[0] & own).sum()) == wanted
        assert int((mask[0] & ~own).sum()) == min(rest, back)


@given(counts=st.lists(st.integers(0, 49), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_negative_loses_foreground_alone(build: Build, counts: list[int], seed: int) -> None:
    strategy = build(fill="mean")
    front, x = some(len(counts), counts, seed), images(len(counts))
    masks = lost(x, strategy.negative(x, front, drawn(seed)))[:, 0]
    shares = 0.4 + (0.7 - 0.4) * torch.rand(len(counts), generator=drawn(seed))
    assert not (masks & ~front).any()
    for mask, fore, share in zip(masks, counts, shares.tolist(), strict=True):
        assert int(mask.sum()) == round(share * fore)


def test_a_high_pass_negative_is_capped(build: Build) -> None:
    """At most 27 of 49 cells, from a share of 0.56 on; the other fillings have no cap."""
    front, x = some(1, [49]), images(1)
    for share, capped, free in ((0.55, 27, 27), (0.57, 27, 28), (0.7, 27, 34)):
        for fill, wanted in (("high_pass", capped), ("mean", free)):
            strategy = build(fill=fill, negative_ratio=[share, share], focal_prob=0.0)
            masks = lost(x, strategy.negative(x, front, drawn()))
            assert masks.sum((2, 3)).tolist() == [[wanted] * 3]


def test_what_rounds_to_less_than_nothing_is_no_background(build: Build) -> None:
    """Oddity 3: there -1 cells are all but one; round(0.0567 x 45) = 3, floor(0.0567 x 49) = 2."""
    strategy = build(fill="mean", ratio=[0.0567, 0.0567])
    front, x = some(4, [45] * 4), images(4)
    masks = lost(x, strategy.query(x, front, drawn()))[:, 0]
    assert (masks & front).sum((1, 2)).tolist() == [3] * 4
    assert not (masks & ~front).any()


def test_one_cell_is_one(build: Build) -> None:
    """Oddity 4: there a foreground or a background of one cell is taken for none."""
    x = images(2)
    single = some(2, [1, 1])
    strategy = build(fill="mean", ratio=[0.5307, 0.5307])  # 26 of 49, 25 of 48
    assert torch.equal(lost(x, strategy.negative(x, single, drawn()))[:, 0], single)
    masks = lost(x, strategy.query(x, ~single, drawn()))[:, 0]
    assert torch.equal(masks & single, single)
    assert (masks & ~single).sum((1, 2)).tolist() == [25, 25]


def test_every_cell_is_as_likely_as_any_other_of_its_kind(build: Build) -> None:
    n, ratio = 3000, 0.2
    front = some(1, [20]).expand(n, -1, -1)
    x = torch.randn(1, 3, 7, 7, generator=drawn()).expand(n, -1, -1, -1).contiguous()
    strategy = build(fill="mean", ratio=[ratio, ratio])
    found = lost(x, strategy.query(x, front, drawn()))[:, 0].float().mean(0)
    for cells, share in ((front[0], 4 / 20), (~front[0], 5 / 29)):
        bound = 4.5 * math.sqrt(share * (1 - share) / n)
        assert (found[cells] - share).abs().max() < bound


@pytest.mark.parametrize(("size", "query", "negative"), [(224, 200, 130), (32, 29, 19)])
def test_focal_windows(build: Build, size: int, query: int, negative: int) -> None:
    """The published windows of 200 and 130 pixels at 224, and their shares elsewhere."""
    strategy = build(focal_prob=1.0)
    x, front = images(6, size), some(6)
    shown = strategy.query(x, front, drawn()) == x
    hidden = strategy.negative(x, front, drawn()) != x
    for masks, side in ((shown, query), (hidden, negative)):
        assert torch.equal(masks, masks[:, :1].expand_as(masks))
        rows, columns = masks[:, 0].any(2), masks[:, 0].any(1)
        assert rows.sum(1).tolist() == columns.sum(1).tolist() == [side] * 6
        assert torch.equal(masks[:, 0], rows[:, :, None] & columns[:, None, :])
        assert len({tuple(row) for row in rows.tolist()}) > 1


@pytest.mark.parametrize(
    ("coins", "share"),
    [({}, 0.2 + 0.8 * 0.3), ({"channel_prob": 1.0}, 0.2), ({"focal_prob": 0.0}, 0.3)],
)
@pytest.mark.parametrize("which", ["query", "negative"])
def test_coins_of_the_high_pass_mode(
    build: Build, which: str, coins: dict[str, float], share: float
) -> None:
    """A focal window in a fifth; of the rest, channels with cells of their own in seven tenths."""
    n = 2000
    x, front = images(n, 7), some(1, [30]).expand(n, -1, -1)
    fixed = {"ratio": [0.25, 0.25], **coins}
    masks = getattr(build(**fixed), which)(x, front, drawn()) != x
    alike = (masks == masks[:, :1]).flatten(1).all(1)
    assert abs(alike.float().mean() - share) < 4.5 * math.sqrt(share * (1 - share) / n)
    counts = masks[~alike].sum((2, 3))
    assert torch.equal(counts, counts[:, :1].expand(-1, 3))


def test_noise_is_drawn_for_every_pixel(build: Build) -> None:
    """Oddity 5: there one patch serves every masked cell of a batch."""
    x, front = images(8, 112), some(8, [30] * 8)
    strategy = build(focal_prob=0.0, channel_prob=0.0)
    for made, std in (
        (strategy.query(x, front, drawn()), 0.18),
        (strategy.negative(x, front, drawn()), 0.14),
    ):
        noise = made[made != x]
        assert len(noise.unique()) > 0.99 * len(noise)
        assert abs(noise.mean()) < 4.5 * std / math.sqrt(len(noise))
        assert abs(noise.std() / std - 1) < 4.5 / math.sqrt(2 * len(noise))


def test_fillings_of_mean_and_blur(build: Build) -> None:
    x, front = images(3, 56), some(3, [40, 20, 30])
    means = x.mean((2, 3), keepdim=True).expand_as(x)
    for fill, filling in (("mean", means), ("blur", blur(x, 10.0, 31))):
        made = build(fill=fill).query(x, front, drawn())
        assert ((made == x) | torch.isclose(made, filling, atol=1e-6)).all()
        assert (made != x).any()


@given(st.integers(0, 99))
def test_blurring_before_or_after_the_normalisation_is_the_same(seed: int) -> None:
    pixels = torch.rand(2, 3, 40, 36, generator=drawn(seed), dtype=torch.float64)
    mean, std = torch.rand(2, 3, 1, 1, generator=drawn(seed + 1), dtype=torch.float64) + 0.1
    before = (blur(pixels, 10.0, 31) - mean) / std
    torch.testing.assert_close(blur((pixels - mean) / std, 10.0, 31), before)


def test_inputs_pass_a_filter_in_the_high_pass_mode_alone(build: Build) -> None:
    x = images(2)
    options = [build(fill=fill).options for fill in ("high_pass", "blur", "mean")]
    found, *none = (input_filter([(Saliency, o)]) for o in options)
    assert none == [None, None]
    assert found is not None
    assert torch.equal(found(x), high_pass(x, 5.0, 11))


def step(**more: Any) -> Step:
    fields = {"seed": 5, "epoch": 0, "batch": 0, "rank": 0, "device": torch.device("cpu")}
    return Step(**{**fields, **more})


def test_queries_are_masked_and_negatives_are_made_of_the_other_view(build: Build) -> None:
    """By the map of what was loaded, un-filtered; keys stay as they are."""
    strategy = build("mocov2plus", fill="mean")
    loaded = tuple(torch.randn(2, 4, 3, 32, 32, generator=drawn()))
    clean = tuple(high_pass(x, 5.0, 11) for x in loaded)
    views = strategy.views(Views(clean, clean, loaded), step())
    assert all(a is b for a, b in zip(views.momentum, clean, strict=True))
    fronts = [strategy.foreground(x) for x in loaded]
    cells = fronts[0].shape[-1]
    assert fronts[0].shape == (4, 8, 8)
    assert fronts[0].any()
    assert not fronts[0].all()
    branches = strategy.branches(clean, step())
    assert [b.view for b in branches] == [0, 1]
    for v, branch in enumerate(branches):
        assert (branch.images, branch.alpha) == (None, 2.0)
        assert branch.negatives is not None
        gone = lost(clean[1 - v], branch.negatives, cells)
        assert gone.flatten(1).any(1).all()
        assert not (gone & ~fronts[1 - v][:, None]).any()
        assert lost(clean[v], views.online[v], cells).flatten(1).any()


@pytest.mark.parametrize(
    ("method", "symmetric", "queries", "negatives"),
    [
        ("mocov2", False, "first", True),
        ("mocov2", True, "both", True),
        ("mocov2plus", False, "both", True),
        ("simclr", False, "first", True),
        ("byol", False, "both", False),
        ("simsiam", False, "first", False),
    ],
)
def test_what_null_means_for_a_method(
    weights: Path, method: str, symmetric: bool, queries: str, negatives: bool
) -> None:
    kwargs = {"saliency": block(weights), "symmetric": symmetric}
    [made] = build_strategies(OmegaConf.create({"method": method, "method_kwargs": kwargs}))
    assert (made.options.queries, made.options.negatives) == (queries, negatives)
    x = tuple(torch.randn(2, 2, 3, 32, 32, generator=drawn()))
    online = made.views(Views(x, x, x), step()).online
    moved = [not torch.equal(a, b) for a, b in zip(online, x, strict=True)]
    assert moved == [True, queries == "both"]
    assert len(made.branches(x, step())) == negatives * (1 + (queries == "both"))


def test_draws_are_those_of_seed_epoch_batch_and_rank(build: Build) -> None:
    strategy, x = build(), tuple(torch.randn(2, 4, 3, 32, 32, generator=drawn()))

    def made(at: Step) -> list[Tensor]:
        online = strategy.views(Views(x, x, x), at).online[0]
        [branch] = strategy.branches(x, at)
        assert branch.negatives is not None
        return [online, branch.negatives]

    first = made(step())
    assert all(torch.equal(a, b) for a, b in zip(first, made(step()), strict=True))
    for other in (step(seed=6), step(epoch=1), step(batch=1), step(rank=1)):
        assert not any(torch.equal(a, b) for a, b in zip(first, made(other), strict=True))
