# SPDX-License-Identifier: MIT
"""Single operations against Pillow's and torchvision's."""

from __future__ import annotations

import pytest
import torch
from PIL import ImageFilter
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mixmask_solo.config.schema.augmentations import Crop
from mixmask_solo.data.augmentations.builtin import RandomBlur, crop, sometimes


def pixels(image):
    return F.pil_to_tensor(image)


def seeded(operations, image):
    torch.manual_seed(1)
    return pixels(transforms.Compose(operations)(image))


def test_blur_is_pillows_with_a_deviation_from_the_range(picture):
    image = picture(0, size=(10, 10))
    blurred = image.filter(ImageFilter.GaussianBlur(1.5))
    assert torch.equal(pixels(RandomBlur([1.5, 1.5])(image)), pixels(blurred))
    assert not torch.equal(pixels(RandomBlur([0.1, 2.0])(image)), pixels(blurred))


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_crops_are_torchvisions(picture, mode):
    image = picture(2, size=(30, 20))
    kernel = InterpolationMode(mode)
    theirs = transforms.RandomResizedCrop(8, scale=(0.3, 0.9), interpolation=kernel)
    ours = crop(Crop(crop_min_scale=0.3, crop_max_scale=0.9, interpolation=mode), 8)
    assert torch.equal(seeded(ours, image), seeded([theirs], image))
    whole = F.center_crop(F.resize(image, 8, kernel), 8)
    assert torch.equal(
        seeded(crop(Crop(enabled=False, interpolation=mode), 8), image), pixels(whole)
    )


def test_crops_are_bicubic_unless_told():
    assert all(
        crop(Crop(enabled=on), 8)[0].interpolation.value == "bicubic" for on in (True, False)
    )


def test_what_never_happens_draws_nothing():
    assert sometimes(0.0, F.hflip) == []
    [operation] = sometimes(0.3, F.hflip)
    assert (operation.transforms, operation.p) == ([F.hflip], 0.3)
