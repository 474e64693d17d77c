# SPDX-License-Identifier: MIT

"""A pipeline for written characters: crop, a small rotation, brightness and contrast.

No flip and no colour: a mirrored 2 is no 2, and scans are grey.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config import option
from mixmask_solo.data.augmentations.options import ColorJitter, Crop, ViewOptions
from mixmask_solo.data.augmentations.registry import Step, register
from mixmask_solo.data.augmentations.steps import crop, jitter, sometimes

__all__ = ["GlyphOptions", "Rotation", "glyphs"]


@dataclass
class Rotation:
    """Rotation by an angle drawn evenly from -degrees to degrees; corners become black."""

    degrees: float = option(10.0, low=0, high=180)
    prob: float = option(1.0, low=0, high=1)


@dataclass
class GlyphOptions(ViewOptions):
    """The keys of the pipeline ``glyphs``."""

    rrc: Crop = field(default_factory=Crop)
    rotation: Rotation | None = None
    color_jitter: ColorJitter | None = None


@register("glyphs", GlyphOptions)
def glyphs(options: GlyphOptions) -> list[Step]:
    """Crop, rotation, jitter, in this order."""
    steps = crop(options.rrc, options.crop_size)
    if options.rotation:
        turn = transforms.RandomRotation(
            options.rotation.degrees, interpolation=InterpolationMode.BILINEAR
        )
        steps += sometimes(options.rotation.prob, turn)
    return steps + jitter(options.color_jitter)
