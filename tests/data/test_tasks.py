# SPDX-License-Identifier: MIT
"""What a task makes of an image: how many views, of which size, statistics and pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.data.tasks import pretraining, probe

HALF = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}


def config(dataset: str, **more: Any) -> dict[str, Any]:
    return {"data": {"dataset": dataset, **more.pop("data", {})}, **more}


def image(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def by_hand(given: Image.Image, shorter: int | None, size: int, kernel: Any) -> Tensor:
    """Resized, its centre cut out, mapped to [-2, 2] by a mean of 1/2 and a deviation of 1/4."""
    if shorter is not None:
        width, height = given.size
        scale = shorter / min(width, height)
        given = given.resize((int(width * scale), int(height * scale)), kernel)
        left, top = (round((edge - size) / 2) for edge in given.size)
        given = given.crop((left, top, left + size, top + size))
    elif given.size != (size, size):
        given = given.resize((size, size), kernel)
    pixels = torch.from_numpy(np.asarray(given).copy()).permute(2, 0, 1).float() / 255
    return (pixels - 0.5) / 0.25


BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


@pytest.mark.parametrize(
    ("dataset", "crop", "given", "shorter", "kernel"),
    [
        ("imagenet", 224, (300, 280), 256, BILINEAR),
        ("custom", 112, (90, 200), 128, BILINEAR),
        ("cifar10", 32, (32, 32), None, BICUBIC),
        ("cifar10", 48, (32, 32), None, BICUBIC),
        ("stl10", 64, (96, 96), None, BICUBIC),
    ],
)
def test_an_image_as_the_protocols_show_it(
    dataset: str, crop: int, given: tuple[int, int], shorter: int | None, kernel: Any
) -> None:
    task = pretraining(config(dataset, augmentations=[{"crop_size": crop, **HALF}]))
    x = image(*given)
    found = task.still.transform(x)
    assert (found.dtype, found.shape) == (torch.float32, (3, crop, crop))
    torch.testing.assert_close(found, by_hand(x, shorter, crop, kernel))


def test_views_of_pretraining_are_those_of_the_list_and_still_ones_like_the_first() -> None:
    views = [{"crop_size": 32, "num_crops": 2, **HALF}, {"crop_size": 16, "num_crops": 3}]
    task = pretraining(config("cifar10", augmentations=views))
    assert (task.split, task.labelled) == ("pretrain", False)
    assert [(p.crop_size, p.num_crops) for p in task.pipelines] == [(32, 2), (16, 3)]
    cifar = info("cifar10")
    assert [tuple(p.mean) for p in task.pipelines] == [(0.5,) * 3, cifar.mean]
    still = task.still
    assert (still.crop_size, still.num_crops, tuple(still.mean)) == (32, 1, (0.5,) * 3)
    assert not still.options.rrc.enabled  # for decoders that crop by themselves
    assert not still.options.horizontal_flip.prob


def test_a_probe_takes_size_and_statistics_from_the_nearest_that_tells() -> None:
    """Its own keys, then the first view of pretraining, then the data set."""
    pretrained = [{"crop_size": 64, "mean": [0.1] * 3}, {"crop_size": 16}]

    def of(own: Any, views: Any) -> tuple[Any, ...]:
        data = {} if own is None else {"augmentations": own}
        task = probe(config("imagenet100", data=data, augmentations=views))
        assert (task.split, task.labelled) == ("train", True)
        [pipeline] = task.pipelines
        assert pipeline.num_crops == 1
        return pipeline.crop_size, tuple(pipeline.mean), tuple(pipeline.std)

    usual = info("imagenet100")
    assert of(None, None) == (224, usual.mean, usual.std)
    assert of(None, pretrained) == (64, (0.1,) * 3, usual.std)
    assert of({"crop_size": 96}, pretrained) == (96, (0.1,) * 3, usual.std)
    assert of({"crop_size": 96, **HALF}, pretrained) == (96, (0.5,) * 3, (0.25,) * 3)
    assert of(HALF, None) == (224, (0.5,) * 3, (0.25,) * 3)


def test_a_probes_own_way_to_a_size() -> None:
    own = {"crop_size": 32, "resize": 40, "interpolation": "bicubic", **HALF}
    task = probe(config("custom", data={"augmentations": own}))
    x = image(80, 60)
    torch.testing.assert_close(task.still.transform(x), by_hand(x, 40, 32, BICUBIC))
    line = r"^data\.augmentations\.resize is 31: the images' centre of 32 pixels .* at least 32$"
    with pytest.raises(ConfigError, match=line):
        probe(config("custom", data={"augmentations": {**own, "resize": 31}}))
    assert probe(config("custom", data={"augmentations": {**own, "resize": 32}}))


@pytest.mark.parametrize(("dataset", "flips"), [("cifar10", 0.5), ("digits", 0.0)])
def test_digits_are_not_mirrored(dataset: str, flips: float) -> None:
    [pipeline] = probe(config(dataset)).pipelines
    assert pipeline.options.horizontal_flip.prob == flips
    assert pipeline.options.rrc.crop_min_scale == info(dataset).min_scale


def test_an_unknown_data_set_is_refused() -> None:
    for task in (pretraining, probe):
        with pytest.raises(ConfigError, match=r"^data\.dataset is 'cifar11': choose .*cifar10"):
            task(config("cifar11", augmentations=[{"crop_size": 8}]))
