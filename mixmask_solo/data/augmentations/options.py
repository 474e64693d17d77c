# SPDX-License-Identifier: MIT
# ruff: noqa: RUF009  (option() makes a dataclass field, as dataclasses.field does)
"""The keys of one entry of ``augmentations``, as solo-learn spells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mixmask_solo.config import ConfigError, option

__all__ = ["Chance", "ColorJitter", "Crop", "GaussianBlur", "ViewOptions"]


@dataclass
class Crop:
    """Random resized crop: area as a share of the image, aspect ratio 3/4 to 4/3.

    ``interpolation`` is ours; solo-learn's crops are bicubic.
    """

    enabled: bool = True
    crop_min_scale: float = option(0.08, above=0, high=1)
    crop_max_scale: float = option(1.0, above=0, high=1)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    def validate(self, prefix: str) -> None:
        """Refuses an empty range."""
        if self.crop_min_scale > self.crop_max_scale:
            raise ConfigError(
                f"{prefix}.crop_min_scale is {self.crop_min_scale}: "
                f"give at most crop_max_scale ({self.crop_max_scale})"
            )


@dataclass
class Chance:
    """An operation without strength; ``prob`` 0 switches it off."""

    prob: float = option(0.0, low=0, high=1)


@dataclass
class ColorJitter:
    """Strengths as torchvision's: b means a factor from max(0, 1 - b) to 1 + b."""

    prob: float = option(0.0, low=0, high=1)
    brightness: float = option(0.0, low=0)
    contrast: float = option(0.0, low=0)
    saturation: float = option(0.0, low=0)
    hue: float = option(0.0, low=0, high=0.5)


@dataclass
class GaussianBlur:
    """Blur with a deviation in pixels drawn evenly from ``sigma``."""

    prob: float = option(0.0, low=0, high=1)
    sigma: list[float] = option([0.1, 2.0], low=0, length=2)


@dataclass
class ViewOptions:
    """What every pipeline takes.

    ``mean`` and ``std`` replace those of the data set, also of one that solo-learn knows (which
    ignores them there).
    """

    crop_size: int = option(low=1)
    num_crops: int = option(1, low=1)
    mean: list[float] | None = option(None, length=3)
    std: list[float] | None = option(None, length=3, above=0)
    pipeline: str = "solo"
