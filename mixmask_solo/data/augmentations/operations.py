# SPDX-License-Identifier: MIT
"""Operations from a PIL image to a PIL image, random ones on torch's global generator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageFilter
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config.schema.augmentations import ColorJitter, Crop
from mixmask_solo.data.augmentations.registry import Operation

__all__ = ["RandomBlur", "crop", "jitter", "sometimes"]


class RandomBlur:
    """Pillow's Gaussian blur (box filters), its deviation in pixels drawn evenly."""

    def __init__(self, sigma: Sequence[float]) -> None:
        self.low, self.high = sigma

    def __call__(self, image: Image.Image) -> Image.Image:
        sigma = torch.empty(1).uniform_(self.low, self.high).item()
        return image.filter(ImageFilter.GaussianBlur(radius=sigma))


def crop(options: Crop, size: int) -> list[Operation]:
    """A random resized crop, or the whole image brought to the size.

    Where solo-learn only resizes the shorter side, the centre is cut out as well: images that
    are not square could not be stacked otherwise.
    """
    mode = InterpolationMode(options.interpolation)
    if not options.enabled:
        return [transforms.Resize(size, interpolation=mode), transforms.CenterCrop(size)]
    scale = (options.crop_min_scale, options.crop_max_scale)
    return [transforms.RandomResizedCrop(size, scale=scale, interpolation=mode)]


def jitter(options: ColorJitter) -> list[Operation]:
    """Brightness, contrast, saturation and hue in random order, with one probability for all."""
    strengths = (options.brightness, options.contrast, options.saturation, options.hue)
    return sometimes(options.prob, transforms.ColorJitter(*strengths))


def sometimes(prob: float, operation: Operation) -> list[Operation]:
    """The operation with a probability; none at all for 0, which then draws no number either."""
    return [transforms.RandomApply([operation], p=prob)] if prob else []
