# SPDX-License-Identifier: MIT
"""From entries of ``augmentations`` to pipelines."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data.augmentations.pipeline import build, build_all

CIFAR = DATASETS["cifar10"]
WHOLE = {"rrc": {"enabled": False}, "crop_size": 10}


def test_an_entry_says_all_about_its_views():
    entry = WHOLE | {"num_crops": 2, "order": "colour_first"}
    first, second = build_all([entry, {"crop_size": 8, "pipeline": "glyphs"}], CIFAR)
    assert (first.name, first.num_crops, first.crop_size) == ("solo", 2, 10)
    assert (second.name, second.num_crops, second.crop_size) == ("glyphs", 1, 8)
    assert (first.key, second.key) == ("augmentations[0]", "augmentations[1]")
    assert (first.colour_first, second.colour_first) == (True, False)


def test_statistics_are_the_data_sets_unless_given(picture):
    square = picture(0, size=(10, 10))
    assert build("solo", WHOLE, DATASETS["imagenet"]).mean == (0.485, 0.456, 0.406)
    given = WHOLE | {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    assert torch.allclose(build("solo", given, CIFAR)(square), (F.to_tensor(square) - 0.5) * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grayscal": {"prob": 0.1}}, r"augmentations\[0\]\.grayscal .*did you mean grayscale\?"),
        ({"grayscale": {"prob": 1.5}}, r"augmentations\[0\]\.grayscale\.prob is 1\.5"),
        ({"rrc": {"crop_min_scale": 0.9, "crop_max_scale": 0.1}}, "crop_min_scale is 0.9: it must"),
        ({"crop_size": 0}, r"augmentations\[0\]\.crop_size is 0"),
        ({"num_crops": 0}, r"augmentations\[0\]\.num_crops is 0"),
        ({"color_jitter": {"prob": 1, "hue": 0.6}}, r"color_jitter\.hue is 0\.6"),
        ({"gaussian_blur": {"prob": 1, "sigma": [1.0]}}, r"gaussian_blur\.sigma"),
        ({"mean": [0.5]}, r"augmentations\[0\]\.mean"),
    ],
)
def test_wrong_entries_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        build_all([WHOLE | change], CIFAR)


@pytest.mark.parametrize("nodes", [None, [], "solo"])
def test_no_pipeline_at_all_is_an_error(nodes):
    with pytest.raises(ConfigError, match="augmentations is empty"):
        build_all(nodes, CIFAR)
