# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.data import DATASETS
from mixmask_solo.data.augmentations import build

DIGITS = DATASETS["digits"]
WHOLE = {"rrc": {"enabled": False}, "crop_size": 32}


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
    pipeline = build("glyphs", WHOLE | {"rotation": {"degrees": 20}}, DIGITS)
    torch.manual_seed(0)
    angles = [angle(pipeline(stroke)) for _ in range(60)]
    assert max(map(abs, angles)) < 22
    assert max(angles) > 14
    assert min(angles) < -14


def test_jitter_changes_brightness_and_contrast(stroke):
    jitter = {"prob": 1.0, "brightness": [0.5], "contrast": 0.0}
    with pytest.raises(ConfigError, match="brightness"):
        build("glyphs", WHOLE | {"color_jitter": jitter}, DIGITS)
    pipeline = build("glyphs", WHOLE | {"color_jitter": jitter | {"brightness": 0.5}}, DIGITS)
    torch.manual_seed(1)
    tops = [float(pixels(pipeline(stroke)).max()) for _ in range(20)]
    assert min(tops) < 0.8
    assert max(tops) <= 1.001


def test_nothing_but_the_crop_by_default(stroke):
    plain = F.normalize(F.to_tensor(stroke), DIGITS.mean, DIGITS.std)
    assert torch.equal(build("glyphs", WHOLE, DIGITS)(stroke), plain)


def test_keys_that_would_harm_characters_are_unknown():
    with pytest.raises(ConfigError, match=r"unknown key augmentations\.horizontal_flip"):
        build("glyphs", WHOLE | {"horizontal_flip": {"prob": 0.5}}, DIGITS)
