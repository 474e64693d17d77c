# SPDX-License-Identifier: MIT
"""The mscn block: its options, and what it makes of views and crops, pixel by pixel."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.strategies import Step, Views, build_strategies, extra_crops, fill_blocks
from mixmask_solo.strategies.mscn import MSCN

generator = torch.Generator().manual_seed(0)
CROPS = tuple(torch.randn(4, 5, 3, 12, 14, generator=generator, dtype=torch.float64))
SMALL = {"patch_size": 4, "kernel": 5, "focal_size": 0.75}
OFF = {"mask_ratio": 0.0, "focal": 0.0, "extra_views": 0}


def config(
    block: dict[str, Any], method: str = "byol", crop: int = 12, **kwargs: Any
) -> DictConfig:
    views = [{"crop_size": crop, "num_crops": 2}]
    written = {"method": method, "method_kwargs": {**kwargs, "mscn": block}}
    return OmegaConf.create({**written, "augmentations": views})


def mscn(block: dict[str, Any], method: str = "byol", **kwargs: Any) -> MSCN:
    [strategy] = build_strategies(config({**SMALL, **block}, method, **kwargs))
    assert isinstance(strategy, MSCN)
    return strategy


def step(batch: int = 0, *, epoch: int = 0, rank: int = 0, seed: int = 5) -> Step:
    return Step(seed, epoch, batch, rank, torch.device("cpu"))


def seen(strategy: MSCN, at: Step | None = None) -> Views:
    clean = CROPS[:2]
    return strategy.views(Views(clean, clean, clean), at or step())


@pytest.mark.parametrize(
    ("block", "method", "fragments"),
    [
        ({"mask_rato": 0.3}, "byol", ["unknown key", "mscn.mask_rato", "mask_ratio"]),
        ({"mask_ratio": 1.0}, "byol", ["mscn.mask_ratio is 1.0", "hidden share", "below 1"]),
        ({"mask_ratio": [0.3, 0.1]}, "byol", ["mscn.mask_ratio", "low <= high"]),
        ({"mask_ratio": [0.1]}, "byol", ["mscn.mask_ratio is [0.1]"]),
        ({"mask_ratio": -0.1}, "byol", ["mscn.mask_ratio is -0.1"]),
        ({"key_mask_ratio": 1.5}, "byol", ["mscn.key_mask_ratio is 1.5"]),
        ({"kernel": 4}, "byol", ["mscn.kernel is 4", "odd", "choose 5"]),
        ({"kernel": 25}, "byol", ["mscn.kernel is 25", "12 pixels", "at most 23"]),
        ({"sigma": 0.2}, "byol", ["mscn.sigma is 0.2", "0.3"]),
        ({"kernel": 1}, "byol", ["mscn.kernel is 1", "at least 3"]),
        (
            {"patch_size": 7},
            "byol",
            ["mscn.patch_size is 7", "in pixels", "is 12", "e.g. 3"],
        ),
        ({"patch_size": 0}, "byol", ["mscn.patch_size is 0"]),
        ({"focal": 1.2}, "byol", ["mscn.focal is 1.2", "from 0.0 to 1.0"]),
        ({"focal_size": 7.5}, "byol", ["mscn.focal_size is 7.5", "whole number of pixels"]),
        ({"focal_size": 200}, "byol", ["mscn.focal_size is 200", "at most 12"]),
        ({"noise_std": -1}, "byol", ["mscn.noise_std is -1"]),
        ({"views": "key"}, "byol", ["mscn.views is 'key'", "both or query"]),
        ({"sides": "networks"}, "simclr", ["mscn.sides is networks", "simclr", "one network"]),
        ({"extra_views": -1}, "byol", ["mscn.extra_views is -1"]),
        ({"pairing": "pairs"}, "byol", ["mscn.pairing is 'pairs'", "query or pair"]),
        ({"same_view": "maybe"}, "byol", ["mscn.same_view", "true or false"]),
    ],
)
def test_wrong_options_are_named_in_one_line(
    block: dict[str, Any], method: str, fragments: list[str]
) -> None:
    with pytest.raises(ConfigError) as error:
        build_strategies(config({**SMALL, **block}, method))
    text = str(error.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


@pytest.mark.parametrize("crop", [224, 160, 96, 64])
def test_the_defaults_fit_crops_and_keep_200_of_224_pixels(crop: int) -> None:
    [strategy] = build_strategies(config({}, crop=crop))
    o = strategy.options
    assert (o.patch_size, o.mask_ratio, o.focal, o.sigma, o.kernel) == (32, 0.15, 0.4, 5.0, 11)
    assert o.window(crop) == round(0.893 * crop)
    assert MSCN.options_type(focal_size=200).window(224) == o.window(224) == 200


@pytest.mark.parametrize(
    ("method", "kwargs", "settled"),
    [
        ("byol", {}, ("networks", "pair")),
        ("mocov2plus", {}, ("networks", "pair")),
        ("mocov2", {"symmetric": True}, ("networks", "pair")),
        ("mocov2", {}, ("networks", "query")),
        ("simclr", {}, ("views", "pair")),
        ("simsiam", {}, ("views", "pair")),
    ],
)
def test_what_the_method_settles_is_stored(
    method: str, kwargs: dict[str, Any], settled: tuple[str, str]
) -> None:
    filled = fill_blocks(config(SMALL, method, **kwargs))
    block = filled["mscn"]
    assert (block["sides"], block["pairing"]) == settled
    again = fill_blocks(config(block, method, **kwargs))
    assert again == filled


def masked(x: Tensor, o: Any, stream: str, *, key: bool = False, at: Step | None = None) -> Tensor:
    """The strategy's drawing and filling of one batch, pixel by pixel."""
    source = (at or step()).generator(f"mscn.{stream}")
    ratio, std = o.mask_ratio, o.noise_std
    if key:
        ratio = ratio if o.key_mask_ratio is None else o.key_mask_ratio
        std = std if o.key_noise_std is None else o.key_noise_std
    low, high = ratio if isinstance(ratio, list) else (ratio, ratio)
    n, channels, height, width = x.shape
    rows, columns = math.ceil(height / o.patch_size), math.ceil(width / o.patch_size)
    coins = torch.rand(4, n, 1, 1, 1, generator=source).view(4, n).tolist()
    rank = torch.rand(n, channels, rows * columns, generator=source).tolist()
    side = round(o.focal_size * min(height, width))
    top = torch.randint(height - side + 1, (n, 1), generator=source).flatten().tolist()
    left = torch.randint(width - side + 1, (n, 1), generator=source).flatten().tolist()
    noise = torch.randn(x.shape, generator=source, dtype=x.dtype) if std else torch.zeros_like(x)
    out = x.clone()
    for i in range(n):
        share = low + (high - low) * coins[2][i]
        count = math.floor(share * rows * columns + coins[3][i])
        for c in range(channels):
            order = rank[i][c if coins[1][i] < o.channel_wise else 0]
            hidden = sorted(range(rows * columns), key=order.__getitem__)[:count]
            for r in range(height):
                for q in range(width):
                    stays = (r // o.patch_size) * columns + q // o.patch_size not in hidden
                    if coins[0][i] < o.focal:
                        stays = 0 <= r - top[i] < side and 0 <= q - left[i] < side
                    if not stays:
                        out[i, c, r, q] = std * noise[i, c, r, q]
    return out


def equal(found: Any, expected: Any) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


BLOCKS: list[dict[str, Any]] = [
    {},
    {"mask_ratio": [0.1, 0.8], "key_mask_ratio": 0.5, "focal": 0.0, "key_noise_std": None},
    {"noise_std": 0.0, "focal": 1.0},
    {"mask_ratio": 0.4, "channel_wise": 0.0, "patch_size": 5, "key_noise_std": 0.7},
]


@pytest.mark.parametrize("block", BLOCKS)
def test_both_networks_see_masks_of_their_own(block: dict[str, Any]) -> None:
    strategy = mscn(block)
    o, (x1, x2, e1, e2) = strategy.options, CROPS
    views = seen(strategy)
    equal(views.online, [masked(x1, o, "online.0"), masked(x2, o, "online.1")])
    keys = [masked(x, o, f"momentum.{i}", key=True) for i, x in enumerate((x1, x2))]
    equal(views.momentum, keys)
    branches = strategy.branches(CROPS, step())
    equal([b.images for b in branches], [masked(e1, o, "extra.0"), masked(e2, o, "extra.1")])
    keys = [masked(e, o, f"extra_momentum.{i}", key=True) for i, e in enumerate((e1, e2))]
    equal([b.momentum for b in branches], keys)
    assert {(b.targets, b.pairing, b.weight) for b in branches} == {("every", "pair", 1.0)}
    assert [b.view for b in branches] == [0, 1]


@pytest.mark.parametrize("block", BLOCKS)
def test_with_one_network_the_views_are_the_sides(block: dict[str, Any]) -> None:
    strategy = mscn(block, "simclr")
    o, (x1, x2, e1, e2) = strategy.options, CROPS
    views = seen(strategy)
    equal(views.online, [masked(x1, o, "online.0"), masked(x2, o, "online.1", key=True)])
    assert all(a is b for a, b in zip(views.online, views.momentum, strict=True))
    branches = strategy.branches(CROPS, step())
    equal([b.images for b in branches], [masked(e1, o, "extra.0"), masked(e2, o, "extra.1")])
    assert [b.momentum for b in branches] == [None, None]


def test_the_key_side_may_stay_whole() -> None:
    for method, keys in (("byol", (0, 1)), ("simclr", (1,))):
        strategy = mscn({"views": "query", "focal": 1.0}, method)
        views = seen(strategy)
        side = views.momentum if method == "byol" else views.online
        assert all(side[i] is CROPS[i] for i in keys)
        assert not torch.equal(views.online[0], CROPS[0])
        for i, branch in enumerate(strategy.branches(CROPS, step())):
            assert not torch.equal(branch.images, CROPS[2 + i])
            assert branch.momentum is (CROPS[2 + i] if method == "byol" else None)


def test_the_same_view_everywhere_needs_no_crops() -> None:
    strategy = mscn({"same_view": True})
    o, x = strategy.options, CROPS[0]
    assert MSCN.extra_crops(o) == 0
    views, branches = seen(strategy), strategy.branches(CROPS[:2], step())
    equal(views.online, [masked(x, o, f"online.{i}") for i in (0, 1)])
    equal(views.momentum, [masked(x, o, f"momentum.{i}", key=True) for i in (0, 1)])
    equal([b.images for b in branches], [masked(x, o, f"extra.{i}") for i in (0, 1)])


def test_small_crops_are_masked_for_the_online_network_alone() -> None:
    strategy, small = mscn({"focal": 0.0, "mask_ratio": 0.5}), CROPS[2][:, :, :6, :6]
    clean = (*CROPS[:2], small)
    views = strategy.views(Views(clean, clean, clean), step())
    equal(views.online[2:], [masked(small, strategy.options, "online.2")])
    assert views.momentum[2] is small
    same = mscn({"same_view": True}).views(Views(clean, clean, clean), step())
    assert same.online[2].shape == small.shape


@pytest.mark.parametrize(
    ("change", "crops", "branches"),
    [
        ({}, 2, 2),
        ({"extra_views": 0}, 0, 0),
        ({"extra_views": 3}, 3, 3),
        ({"same_view": True}, 0, 2),
    ],
)
def test_crops_it_takes_and_branches_it_makes(
    change: dict[str, Any], crops: int, branches: int
) -> None:
    assert extra_crops(fill_blocks(config({**SMALL, **change}))) == {"mscn": crops}
    assert len(mscn(change).branches((*CROPS, CROPS[0])[: 2 + crops], step())) == branches


def test_asymmetric_moco_has_no_keys_of_extra_views() -> None:
    branches = mscn({}, "mocov2").branches(CROPS, step())
    assert [(b.momentum, b.pairing) for b in branches] == [(None, "query")] * 2


def test_all_off_leaves_the_very_tensors() -> None:
    for method in ("byol", "simclr"):
        strategy = mscn(OFF, method)
        views = seen(strategy)
        for images in (views.online, views.momentum):
            assert all(a is b for a, b in zip(images, CROPS[:2], strict=True))
        assert strategy.branches(CROPS[:2], step()) == []
    assert MSCN.input_filter(mscn({"high_pass": False}).options) is None


def test_the_filter_takes_the_blurred_copy_off() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    o = mscn({"sigma": 1.7}).options
    apply = MSCN.input_filter(o)
    assert apply is not None
    offsets = torch.arange(-2, 3, dtype=torch.float64)
    taps = (-(offsets**2) / (2 * 1.7**2)).exp()
    blurred = CROPS[0].numpy()
    for axis in (2, 3):
        blurred = ndimage.correlate1d(blurred, (taps / taps.sum()).numpy(), axis, mode="mirror")
    torch.testing.assert_close(apply(CROPS[0]), CROPS[0] - torch.from_numpy(blurred))


def test_draws_depend_on_seed_epoch_batch_and_rank_and_nothing_else() -> None:
    strategy = mscn({"mask_ratio": [0.1, 0.9]})
    at = seen(strategy, step(7)).online[0]
    torch.rand(3)
    before = torch.get_rng_state()
    assert torch.equal(seen(mscn({"mask_ratio": [0.1, 0.9]}), step(7)).online[0], at)
    assert torch.equal(before, torch.get_rng_state())
    for other in (step(8), step(7, epoch=1), step(7, rank=1), step(7, seed=6)):
        assert not torch.equal(seen(strategy, other).online[0], at)
    views, branches = seen(strategy, step(7)), strategy.branches([CROPS[0]] * 4, step(7))
    made = [*views.online, *views.momentum, *(b.images for b in branches)]
    assert not any(torch.equal(a, b) for i, a in enumerate(made) for b in made[:i])
