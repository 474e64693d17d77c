# SPDX-License-Identifier: MIT
"""solo-learn's pipeline for natural images: its keys, their order and their meaning.

Crop, colour jitter, grey, blur, solarise, equalise, flip; each but the crop is off unless its
block says how often. ``order: colour_first`` (ours) puts jitter and grey before the crop, as
htdt/self-supervised has them: colours are then changed by the statistics of the whole image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from torchvision import transforms

from mixmask_solo.data.augmentations.options import (
    Chance,
    ColorJitter,
    Crop,
    GaussianBlur,
    ViewOptions,
)
from mixmask_solo.data.augmentations.registry import Step, register
from mixmask_solo.data.augmentations.steps import (
    RandomBlur,
    crop,
    equalize,
    jitter,
    solarize,
    sometimes,
)

__all__ = ["SoloOptions", "solo"]


@dataclass
class SoloOptions(ViewOptions):
    """The keys of solo-learn's ``augmentations``, and ``order``."""

    rrc: Crop = field(default_factory=Crop)
    color_jitter: ColorJitter | None = None
    grayscale: Chance | None = None
    gaussian_blur: GaussianBlur | None = None
    solarization: Chance | None = None
    equalization: Chance | None = None
    horizontal_flip: Chance | None = None
    order: Literal["crop_first", "colour_first"] = "crop_first"


@register("solo", SoloOptions)
def solo(options: SoloOptions) -> list[Step]:
    """The steps in solo-learn's order, or with crop and colours exchanged."""
    crops, steps = crop(options.rrc, options.crop_size), jitter(options.color_jitter)
    if options.grayscale and options.grayscale.prob:
        steps.append(transforms.RandomGrayscale(p=options.grayscale.prob))
    steps = steps + crops if options.order == "colour_first" else crops + steps
    if options.gaussian_blur:
        steps += sometimes(options.gaussian_blur.prob, RandomBlur(options.gaussian_blur.sigma))
    if options.solarization:
        steps += sometimes(options.solarization.prob, solarize)
    if options.equalization:
        steps += sometimes(options.equalization.prob, equalize)
    if options.horizontal_flip and options.horizontal_flip.prob:
        steps.append(transforms.RandomHorizontalFlip(p=options.horizontal_flip.prob))
    return steps
