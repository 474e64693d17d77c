# SPDX-License-Identifier: MIT
"""The pipelines ``solo``, for natural images, and ``glyphs``, for written characters.

Their random operations draw from torch's global generator.
"""

from collections.abc import Sequence

import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config.schema.augmentations import ColorJitter, Crop, GlyphOptions, SoloOptions
from mixmask_solo.data.augmentations.pipeline import Operation, register


@register("solo", SoloOptions)
def solo(options: SoloOptions) -> list[Operation]:
    """solo-learn's operations in its order: crop, jitter, grey, blur, solarise, equalise, flip.

    ``order: colour_first`` (ours) puts jitter and grey before the crop, as htdt/self-supervised
    has them: colours are then changed by the statistics of the whole image.
    """
    first, then = crop(options.rrc, options.crop_size), _jitter(options.color_jitter)
    if options.grayscale.prob:
        then.append(transforms.RandomGrayscale(p=options.grayscale.prob))
    if options.order == "colour_first":
        first, then = then, first
    operations = [
        *first,
        *then,
        *sometimes(options.gaussian_blur.prob, RandomBlur(options.gaussian_blur.sigma)),
        *sometimes(options.solarization.prob, ImageOps.solarize),
        *sometimes(options.equalization.prob, ImageOps.equalize),
    ]
    if options.horizontal_flip.prob:
        operations.append(transforms.RandomHorizontalFlip(p=options.horizontal_flip.prob))
    return operations


@register("glyphs", GlyphOptions)
def glyphs(options: GlyphOptions) -> list[Operation]:
    """Crop, small rotation, brightness and contrast: a mirrored 2 is no 2, and scans are grey."""
    operations = crop(options.rrc, options.crop_size)
    turn = options.rotation
    if turn:
        rotate = transforms.RandomRotation(turn.degrees, interpolation=InterpolationMode.BILINEAR)
        operations += sometimes(turn.prob, rotate)
    return operations + _jitter(options.color_jitter)


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


def sometimes(prob: float, operation: Operation) -> list[Operation]:
    """The operation with a probability; none at all for 0, which then draws no number either."""
    return [transforms.RandomApply([operation], p=prob)] if prob else []


def _jitter(options: ColorJitter) -> list[Operation]:
    """In random order, with one probability for all."""
    strengths = (options.brightness, options.contrast, options.saturation, options.hue)
    return sometimes(options.prob, transforms.ColorJitter(*strengths))
