# SPDX-License-Identifier: MIT
"""The pipelines ``solo``, for natural images, and ``glyphs``, for written characters."""

from __future__ import annotations

from PIL import ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config.schema.augmentations import GlyphOptions, SoloOptions
from mixmask_solo.data.augmentations.operations import RandomBlur, crop, jitter, sometimes
from mixmask_solo.data.augmentations.registry import Operation, register

__all__ = ["glyphs", "solo"]


@register("solo", SoloOptions)
def solo(options: SoloOptions) -> list[Operation]:
    """solo-learn's operations in its order: crop, jitter, grey, blur, solarise, equalise, flip.

    ``order: colour_first`` (ours) puts jitter and grey before the crop, as htdt/self-supervised
    has them: colours are then changed by the statistics of the whole image.
    """
    first, then = crop(options.rrc, options.crop_size), jitter(options.color_jitter)
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
    return operations + jitter(options.color_jitter)
