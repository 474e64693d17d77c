# SPDX-License-Identifier: MIT
# ruff: noqa: RUF009  (option() makes a dataclass field, as dataclasses.field does)
"""One entry of ``augmentations``: a pipeline and how many crops it makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option

__all__ = ["Augmentation"]


@dataclass
class _Crop:
    enabled: bool = True
    crop_min_scale: float = option(0.08, above=0.0, high=1.0)
    crop_max_scale: float = option(1.0, above=0.0, high=1.0)
    interpolation: Literal["bicubic", "bilinear"] | None = option(None, absent=True)

    def validate(self, prefix: str) -> None:
        if self.crop_min_scale > self.crop_max_scale:
            raise ConfigError(
                f"{prefix}.crop_min_scale is {self.crop_min_scale}: it must not exceed "
                f"{prefix}.crop_max_scale ({self.crop_max_scale})"
            )


@dataclass
class _ColorJitter:
    prob: float = option(0.0, low=0.0, high=1.0)
    brightness: float = option(0.0, low=0.0)
    contrast: float = option(0.0, low=0.0)
    saturation: float = option(0.0, low=0.0)
    hue: float = option(0.0, low=0.0, high=0.5)


@dataclass
class _Chance:
    prob: float = option(0.0, low=0.0, high=1.0)


@dataclass
class _Blur(_Chance):
    sigma: list[float] | None = option(None, low=0.0, length=2, absent=True)


@dataclass
class Augmentation:
    """solo-learn's keys; a block that is left out is off, except the random resized crop.

    A ``pipeline`` other than ``solo`` brings keys of its own: they pass through unchecked, and
    the blocks it does not name stay unset. Ours: ``mean`` and ``std``, ``rrc.interpolation`` and
    ``order``, which solo-learn itself does not read.
    """

    crop_size: int = option(low=1)
    num_crops: int = option(1, low=1)
    pipeline: str = "solo"
    rrc: _Crop | None = option(None, absent=True)
    color_jitter: _ColorJitter | None = option(None, absent=True)
    grayscale: _Chance | None = option(None, absent=True)
    gaussian_blur: _Blur | None = option(None, absent=True)
    solarization: _Chance | None = option(None, absent=True)
    equalization: _Chance | None = option(None, absent=True)
    horizontal_flip: _Chance | None = option(None, absent=True)
    mean: list[float] | None = option(None, length=3, absent=True)
    std: list[float] | None = option(None, above=0.0, length=3, absent=True)
    order: Literal["crop_first", "colour_first"] | None = option(None, absent=True)

    @classmethod
    def extra_keys(cls, values: Mapping[str, Any]) -> Collection[str]:
        """Keys that belong to a registered pipeline, not to this schema."""
        own = {f.name for f in fields(cls)}
        return [] if values.get("pipeline", "solo") == "solo" else set(values) - own

    def validate(self, prefix: str) -> None:
        """Completes solo-learn's pipeline; raises ConfigError for ``mean`` without ``std``."""
        if (self.mean is None) != (self.std is None):
            raise ConfigError(
                f"{prefix}.mean is {self.mean} and {prefix}.std is {self.std}: give both or none"
            )
        if self.pipeline != "solo":
            return
        self.rrc = self.rrc or _Crop()
        self.color_jitter = self.color_jitter or _ColorJitter()
        self.gaussian_blur = self.gaussian_blur or _Blur()
        for name in ("grayscale", "solarization", "equalization", "horizontal_flip"):
            setattr(self, name, getattr(self, name) or _Chance())
