# SPDX-License-Identifier: MIT
"""Each key of ``solo`` and ``glyphs`` against the operation it stands for, called directly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data.augmentations.pipeline import build, build_all

CIFAR, DIGITS = DATASETS["cifar10"], DATASETS["digits"]
WHOLE = {"rrc": {"enabled": False}, "crop_size": 10}
SCAN = WHOLE | {"crop_size": 32}
BICUBIC = InterpolationMode.BICUBIC


def view(node, image, dataset=CIFAR):
    return build("solo", node, dataset)(image)


def expected(image, dataset=CIFAR):
    return F.normalize(F.to_tensor(image), dataset.mean, dataset.std)


@pytest.fixture
def square(picture):
    return picture(0, size=(10, 10))


def test_with_everything_off_only_tensor_and_statistics_remain(square):
    off = {k: {"prob": 0.0} for k in ("color_jitter", "grayscale", "gaussian_blur", "solarization")}
    off |= {k: {"prob": 0.0} for k in ("equalization", "horizontal_flip")}
    state = torch.get_rng_state()
    assert torch.equal(view(WHOLE | off, square), expected(square))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("key", "operation"),
    [
        ("grayscale", lambda image: F.rgb_to_grayscale(image, 3)),
        ("solarization", ImageOps.solarize),
        ("equalization", ImageOps.equalize),
        ("horizontal_flip", F.hflip),
    ],
)
def test_prob_one_is_the_operation_itself(square, key, operation):
    assert torch.equal(view(WHOLE | {key: {"prob": 1.0}}, square), expected(operation(square)))


def test_blur_without_a_range_has_solo_learns():
    [pipeline] = build_all([WHOLE | {"gaussian_blur": {"prob": 1.0}}], CIFAR)
    blur = pipeline.transform.transforms[2].transforms[0]
    assert (blur.low, blur.high) == (0.1, 2.0)


def test_crop_and_jitter_are_torchvisions_with_solo_learns_settings(square):
    node = {
        "crop_size": 6,
        "rrc": {"enabled": True, "crop_min_scale": 0.3, "crop_max_scale": 0.9},
        "color_jitter": {
            "prob": 1,
            "brightness": 0.4,
            "contrast": 0.3,
            "saturation": 0.2,
            "hue": 0.1,
        },
    }
    direct = transforms.Compose(
        [
            transforms.RandomResizedCrop(6, scale=(0.3, 0.9), interpolation=BICUBIC),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.3, 0.2, 0.1)], p=1),
        ]
    )
    torch.manual_seed(4)
    theirs = expected(direct(square))
    torch.manual_seed(4)
    assert torch.equal(view(node, square), theirs)


def test_operations_follow_solo_learns_order(square):
    node = WHOLE | {
        "color_jitter": {"prob": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2},
        "grayscale": {"prob": 0.5},
        "gaussian_blur": {"prob": 0.5},
        "solarization": {"prob": 0.5},
        "equalization": {"prob": 0.5},
        "horizontal_flip": {"prob": 0.5},
    }
    assert names_of(node) == [
        "Resize",
        "CenterCrop",
        "ColorJitter",
        "RandomGrayscale",
        "RandomBlur",
        "solarize",
        "equalize",
        "RandomHorizontalFlip",
        "ToTensor",
        "Normalize",
    ]


def names_of(node):
    steps = build("solo", node, CIFAR).transform.transforms
    inner = [s.transforms[0] if isinstance(s, transforms.RandomApply) else s for s in steps]
    return [getattr(s, "__name__", type(s).__name__) for s in inner]


def test_colours_may_come_before_the_crop():
    node = {
        "crop_size": 6,
        "color_jitter": {"prob": 0.8, "brightness": 0.4},
        "grayscale": {"prob": 0.1},
        "gaussian_blur": {"prob": 0.5},
        "horizontal_flip": {"prob": 0.5},
    }
    crop, colours, blur = "RandomResizedCrop", ["ColorJitter", "RandomGrayscale"], "RandomBlur"
    assert names_of(node)[:4] == [crop, *colours, blur]
    assert names_of(node | {"order": "crop_first"}) == names_of(node)
    exchanged = names_of(node | {"order": "colour_first"})
    assert exchanged[:4] == [*colours, crop, blur]
    assert exchanged[4:] == names_of(node)[4:]


def test_probabilities_are_probabilities(square):
    pipeline = build("solo", WHOLE | {"horizontal_flip": {"prob": 0.25}}, CIFAR)
    torch.manual_seed(0)
    flipped = expected(F.hflip(square))
    share = sum(torch.equal(pipeline(square), flipped) for _ in range(2000)) / 2000
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def pixels(view):
    return view * DIGITS.std[0] + DIGITS.mean[0]


@pytest.fixture
def stroke():
    """A vertical stroke, so that the angle of its image can be measured."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[4:28, 15:17] = 255
    return Image.fromarray(image)


def angle(view):
    y, x = torch.nonzero(pixels(view)[0] > 0.5, as_tuple=True)
    x, y = x - x.float().mean(), y - y.float().mean()
    return float(torch.rad2deg(torch.atan((x * y).sum() / (y * y).sum())))


def test_rotations_stay_within_the_range_and_fill_it(stroke):
    pipeline = build("glyphs", SCAN | {"rotation": {"degrees": 20}}, DIGITS)
    torch.manual_seed(0)
    angles = [angle(pipeline(stroke)) for _ in range(60)]
    assert max(map(abs, angles)) < 22
    assert max(angles) > 14
    assert min(angles) < -14


def test_jitter_changes_brightness_and_contrast(stroke):
    jitter = {"prob": 1.0, "brightness": [0.5], "contrast": 0.0}
    with pytest.raises(ConfigError, match="brightness"):
        build("glyphs", SCAN | {"color_jitter": jitter}, DIGITS)
    pipeline = build("glyphs", SCAN | {"color_jitter": jitter | {"brightness": 0.5}}, DIGITS)
    torch.manual_seed(1)
    tops = [float(pixels(pipeline(stroke)).max()) for _ in range(20)]
    assert min(tops) < 0.8
    assert max(tops) <= 1.001


def test_nothing_but_the_crop_by_default(stroke):
    plain = F.normalize(F.to_tensor(stroke), DIGITS.mean, DIGITS.std)
    assert torch.equal(build("glyphs", SCAN, DIGITS)(stroke), plain)


def test_keys_that_would_harm_characters_are_unknown():
    with pytest.raises(ConfigError, match=r"unknown key augmentations\.horizontal_flip"):
        build("glyphs", SCAN | {"horizontal_flip": {"prob": 0.5}}, DIGITS)
