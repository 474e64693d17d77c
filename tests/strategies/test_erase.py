# SPDX-License-Identifier: MIT
"""Whose cells the erase block hides, in which views, and what these show."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch import Tensor

from mixmask_solo.masks import blocked, discrete
from mixmask_solo.strategies import Step, Strategy, Views, build_strategies, seeded

N, SIZE = 6, 16
X = torch.arange(N * 3 * SIZE * SIZE, dtype=torch.float64).reshape(N, 3, SIZE, SIZE) + 1


def step(batch: int = 0, *, epoch: int = 0, rank: int = 0, seed: int = 5) -> Step:
    return Step(seed, epoch, batch, rank, torch.device("cpu"))


def config(
    block: dict[str, Any], method: str | None = None, name: str = "erase", **more: Any
) -> Any:
    cfg = {"method_kwargs": {name: block, **more}, "augmentations": [{"crop_size": SIZE}]}
    return OmegaConf.create(cfg | ({} if method is None else {"method": method}))


def strategy(block: dict[str, Any], *rest: Any, **more: Any) -> Strategy:
    [made] = build_strategies(config(block, *rest, **more))
    return made


def branch(block: dict[str, Any], at: Step, x: Tensor = X) -> Tensor:
    [made] = strategy({"role": "branch", **block}).branches([x, x], at)
    assert made.images is not None
    return made.images


def seen(block: dict[str, Any], at: Step, method: str, *small: Tensor) -> tuple[Views, Views]:
    """What went in, images of different numbers, and what the strategy makes of it."""
    images = (X, X + 10_000, *small)
    clean = Views(images, images, images)
    return clean, strategy(block, method).views(clean, at)


# Which cells are hidden.


def test_masks_are_those_of_the_generator_by_seed_epoch_block_and_rank() -> None:
    """Sixty-four steps at once, as MixMask always drew them; view 2 has a stream of its own."""
    both = {"grid_size": 4, "mask_type": "discrete", "views": "both", "targets": "masked"}
    for batch in (0, 3, 70):
        clean, made = seen(both, step(batch, epoch=2, rank=1, seed=7), "simclr")
        for view, name in enumerate(("mask", "mask.1")):
            generator = seeded(7, 2, batch // 64, 1, name)
            mask = discrete(64, 4, 0.5, generator=generator)[batch % 64]
            pixels = mask.repeat_interleave(4, 0).repeat_interleave(4, 1)
            assert torch.equal(made.online[view], clean.online[view] * pixels)


ASKED = st.fixed_dictionaries(
    {
        "grid_size": st.sampled_from([2, 3, 5, 8]),
        "mask_type": st.sampled_from(["block", "discrete"]),
        "ratio": st.sampled_from([0.3, 0.5, [0.25, 0.75], [0.0, 1.0]]),
        "per_sample": st.booleans(),
        "prob": st.sampled_from([1.0, 0.5]),
    }
)


@given(block=ASKED, batch=st.integers(0, 200), epoch=st.integers(0, 3), rank=st.integers(0, 3))
def test_erase_and_mixmask_hide_the_same_cells(
    block: dict[str, Any], batch: int, epoch: int, rank: int
) -> None:
    mix, erase = (
        strategy(b, name=name)
        for name, b in (("mixmask", block), ("erase", {"role": "branch", **block}))
    )
    view = strategy(block, "simclr")
    # No image is its own partner, and none has a pixel in common with another.
    for at in (step(batch, epoch=epoch, rank=rank), step(batch + 1, epoch=epoch, rank=rank)):
        mixed, erased = mix.branches([X, X], at), erase.branches([X, X], at)
        views = view.views(Views((X, X), (X, X), (X, X)), at)
        assert len(mixed) == len(erased)
        assert (views.online[0] is X) is (not mixed)
        for m, e in zip(mixed, erased, strict=True):
            assert torch.equal(m.images == X, e.images != 0)
            assert torch.equal(e.images, views.online[0])


def test_beside_mixmask_the_same_cells_and_mixmask_as_alone() -> None:
    block = {"grid_size": 4, "per_sample": True}
    alone = strategy(block, name="mixmask")
    pair = build_strategies(config({"role": "branch", **block}, mixmask=block))
    assert [s.name for s in pair] == ["mixmask", "erase"]
    for i in range(3):
        made = [b.images for s in pair for b in s.branches([X, X], step(i))]
        assert torch.equal(made[0], alone.branches([X, X], step(i))[0].images)
        assert torch.equal(made[0] == X, made[1] != 0)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("kind", ["block", "discrete"])
def test_the_share_that_is_kept_is_the_ratio(kind: str, ratio: float) -> None:
    """Discrete: the binomial mean. Blocks: below the ratio by what the generator falls short."""
    n, g = 4000, 8
    x = torch.ones(n, 1, g, g)
    block = {"grid_size": g, "mask_type": kind, "ratio": ratio, "per_sample": True}
    kept = branch(block, step(), x).mean((1, 2, 3))
    if kind == "discrete":
        error = math.sqrt(ratio * (1 - ratio) / (n * g * g))
        assert abs(kept.mean().item() - ratio) < 5 * error
    else:
        drawn = blocked(n, g, ratio, generator=torch.Generator().manual_seed(1))
        assert kept.max() <= ratio
        share = drawn.double().mean((1, 2))
        error = math.sqrt((share.var() + kept.double().var()).item() / n)
        assert abs((kept.mean() - share.mean()).item()) < 5 * max(error, 1e-6)


def test_draws_depend_on_seed_epoch_batch_and_rank_and_nothing_else() -> None:
    block = {"grid_size": 4, "per_sample": True, "fill": "noise", "role": "branch"}
    at = branch(block, step(70))
    erase = strategy(block)
    for i in range(70):
        erase.branches([X], step(i))
    before = torch.get_rng_state()
    [again] = erase.branches([X], step(70))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(again.images, at)
    for other in (step(71), step(70, epoch=1), step(70, rank=1), step(70, seed=6)):
        changed = branch(block, other)
        assert not torch.equal(changed == X, at == X)
        assert not torch.equal(changed[changed != X], at[at != X])


# Which views are masked.


@pytest.mark.parametrize(
    ("method", "views", "targets"),
    [
        *(("byol", v, t) for v in ("query", "both") for t in ("clean", "masked")),
        *(("simclr", v, t) for v, t in (("query", "clean"), ("both", "masked"))),
    ],
)
def test_views_and_targets(method: str, views: str, targets: str) -> None:
    small = torch.ones(N, 3, 8, 8, dtype=torch.float64)
    clean, made = seen({"views": views, "targets": targets}, step(), method, small)
    masked = 2 if method == "byol" or views == "both" else 1
    for v in range(3):
        assert (made.online[v] is clean.online[v]) is (v >= masked)
        if targets == "masked":
            assert torch.equal(made.momentum[v], made.online[v])
        else:
            assert made.momentum[v] is clean.momentum[v]
    assert made.loaded is clean.loaded
    if masked == 2:
        hidden = [x == 0 for x in made.online[:2]]
        assert not torch.equal(*hidden)
        shares = [h.float().mean() for h in hidden]
        assert all(0.4 <= share < 1 for share in shares)
    assert strategy({"views": views, "targets": targets}, method).branches([X, X], step()) == []


def test_a_branch_leaves_the_views_and_is_the_image_itself() -> None:
    erase = strategy({"role": "branch", "weight": 0.5, "pairing": "query"}, "byol")
    clean = Views((X, X), (X, X), (X, X))
    assert erase.views(clean, step()) is clean
    [made] = erase.branches([X, X + 1], step())
    [source] = made.sources
    assert source.index is None
    assert torch.equal(source.weight, torch.ones(N, dtype=torch.float64))
    assert not made.per_image
    assert (made.view, made.weight, made.pairing, made.targets) == (0, 0.5, "query", None)
    assert made.mixture is None
    assert made.negatives is None


def test_prob_is_the_share_of_steps_and_all_ranks_agree() -> None:
    erase = strategy({"prob": 0.25}, "simclr")
    clean = Views((X, X), (X, X), (X, X))
    made = [[erase.views(clean, step(i, rank=r)) is clean for i in range(400)] for r in (0, 1)]
    assert made[0] == made[1]
    assert 270 <= sum(made[0]) <= 330  # 300 expected, σ = 8.7


# What masked cells show.


def gaussian(x: Tensor, sigma: float, kernel: int) -> Tensor:
    """Blurred by a plain two-dimensional convolution."""
    line = torch.arange(kernel, dtype=x.dtype) - kernel // 2
    taps = (-(line**2) / (2 * sigma**2)).exp()
    weight = (taps[:, None] * taps / taps.sum() ** 2).expand(x.shape[1], 1, kernel, kernel)
    padded = F.pad(x, [kernel // 2] * 4, mode="reflect")
    return F.conv2d(padded, weight, groups=x.shape[1])


@pytest.mark.parametrize("role", ["view", "branch"])
@pytest.mark.parametrize("kind", ["zero", "mean", "blur"])
def test_a_filling_is_what_its_name_says(kind: str, role: str) -> None:
    blur = {"blur_sigma": 2.0, "blur_kernel": 7}
    block = {"grid_size": 4, "fill": kind, "role": role, **blur}
    x = torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    filling = {
        "zero": torch.zeros_like(x),
        "mean": x.sum((2, 3), keepdim=True).expand_as(x) / SIZE**2,
        "blur": gaussian(x, 2.0, 7),
    }[kind]
    if role == "branch":
        found = branch(block, step(), x)
    else:
        found = strategy(block, "simclr").views(Views((x, x), (x, x), (x, x)), step()).online[0]
    own = branch({"grid_size": 4}, step()) != 0
    assert 0 < own.float().mean() < 1
    torch.testing.assert_close(found, torch.where(own, x, filling), rtol=0, atol=1e-12)


@pytest.mark.parametrize("std", [0.5, 2.0])
def test_noise_is_gaussian_of_every_pixel_and_differs_between_views(std: float) -> None:
    x = torch.full((64, 3, SIZE, SIZE), 100.0)
    block = {"fill": "noise", "noise_std": std, "views": "both", "targets": "masked"}
    made = strategy(block, "simclr").views(Views((x, x), (x, x), (x, x)), step())
    for seen_by, goal in zip(made.momentum, made.online, strict=True):
        assert torch.equal(seen_by, goal)  # a network sees the very noise of the other
    draws = [v[v != 100] for v in made.online]
    for draw in draws:
        n = len(draw)
        assert abs(draw.mean().item()) < 5 * std / math.sqrt(n)
        assert abs(draw.std().item() - std) < 5 * std / math.sqrt(2 * n)
        assert draw.unique().numel() > 0.99 * n
    twice = (made.online[0] != 100) & (made.online[1] != 100)
    assert twice.any()
    assert (made.online[0] != made.online[1])[twice].float().mean() > 0.99
