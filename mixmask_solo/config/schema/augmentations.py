# SPDX-License-Identifier: MIT
"""The keys of one entry of ``augmentations``, as solo-learn spells them, and ours.

solo-learn itself does not read ``mean``, ``std``, ``rrc.interpolation`` and ``order``.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option


@dataclass
class Crop:
    """Random resized crop: area as a share of the image, aspect ratio 3/4 to 4/3."""

    enabled: bool = True
    crop_min_scale: float = option(0.08, above=0.0, high=1.0)
    crop_max_scale: float = option(1.0, above=0.0, high=1.0)
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    def validate(self, prefix: str) -> None:
        if self.crop_min_scale > self.crop_max_scale:
            raise ConfigError(
                f"{prefix}.crop_min_scale is {self.crop_min_scale}: it must not exceed "
                f"{prefix}.crop_max_scale ({self.crop_max_scale})"
            )


@dataclass
class Chance:
    """An operation without strength; ``prob`` 0 switches it off."""

    prob: float = option(0.0, low=0.0, high=1.0)


@dataclass
class ColorJitter(Chance):
    """Strengths as torchvision's: b means a factor from max(0, 1 - b) to 1 + b."""

    brightness: float = option(0.0, low=0.0)
    contrast: float = option(0.0, low=0.0)
    saturation: float = option(0.0, low=0.0)
    hue: float = option(0.0, low=0.0, high=0.5)


@dataclass
class GaussianBlur(Chance):
    """Blur with a deviation in pixels drawn evenly from ``sigma``."""

    sigma: list[float] = option([0.1, 2.0], low=0.0, length=2)


@dataclass
class Rotation:
    """Rotation by an angle drawn evenly from -degrees to degrees; corners become black."""

    degrees: float = option(10.0, low=0.0, high=180.0)
    prob: float = option(1.0, low=0.0, high=1.0)


@dataclass
class ViewOptions:
    """What every pipeline takes.

    ``mean`` and ``std`` replace those of the data set, also of one that solo-learn knows.
    """

    crop_size: int = option(low=1)
    num_crops: int = option(1, low=1)
    pipeline: str = "solo"
    mean: list[float] | None = option(None, length=3, absent=True)
    std: list[float] | None = option(None, above=0.0, length=3, absent=True)

    def validate(self, prefix: str) -> None:
        if (self.mean is None) != (self.std is None):
            raise ConfigError(
                f"{prefix}.mean is {self.mean} and {prefix}.std is {self.std}: give both or none"
            )


@dataclass
class SoloOptions(ViewOptions):
    """The pipeline ``solo``; what is left out is off, except the random resized crop."""

    rrc: Crop = field(default_factory=Crop)
    color_jitter: ColorJitter = field(default_factory=ColorJitter)
    grayscale: Chance = field(default_factory=Chance)
    gaussian_blur: GaussianBlur = field(default_factory=GaussianBlur)
    solarization: Chance = field(default_factory=Chance)
    equalization: Chance = field(default_factory=Chance)
    horizontal_flip: Chance = field(default_factory=Chance)
    order: Literal["crop_first", "colour_first"] = "crop_first"


@dataclass
class GlyphOptions(ViewOptions):
    """The pipeline ``glyphs``; a rotation only where its block is written."""

    rrc: Crop = field(default_factory=Crop)
    rotation: Rotation | None = option(None, absent=True)
    color_jitter: ColorJitter = field(default_factory=ColorJitter)


_BUILTIN: dict[str, type[ViewOptions]] = {"solo": SoloOptions, "glyphs": GlyphOptions}


class Augmentation(ViewOptions):
    """An entry of whichever pipeline: of ours, or one registered elsewhere.

    What the latter takes besides the common keys is checked where it is built.
    """

    @classmethod
    def choose(cls, values: Mapping[str, Any]) -> tuple[type[ViewOptions], Collection[str]]:
        """The schema that the entry's ``pipeline`` means, and further keys to leave alone."""
        schema = _BUILTIN.get(str(values.get("pipeline") or "solo"))
        return (schema, ()) if schema else (ViewOptions, values.keys())
