# SPDX-License-Identifier: MIT
"""Which part of each image a view shows, and what happens to it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DatasetInfo
from mixmask_solo.config.schema.augmentations import Crop, SoloOptions
from mixmask_solo.data.augmentations import Pipeline
from mixmask_solo.data.augmentations.draws import DRAWS, Draws, draw_solo
from mixmask_solo.data.augmentations.randomness import keys
from mixmask_solo.data.augmentations.standard import probe_options, resizing
from mixmask_solo.data.batched.plan import Plan
from mixmask_solo.data.batched.views import Maker

__all__ = ["Area", "View", "augmented", "central", "probing", "unaugmented", "window"]


@dataclass(frozen=True)
class Area:
    """What part of each image is resized to what, before the colours.

    Attributes:
        box: (n, 4) int64 top, left, height, width in pixels of the stored image.
        fit: (n, 2) int64 height and width to which it is resized; the centre of that, a square of
            the view's edge, is the view.
    """

    box: NDArray[np.int64]
    fit: NDArray[np.int64]

    def part(self, row: int) -> Area:
        """The rows of a single image."""
        return Area(self.box[row : row + 1], self.fit[row : row + 1])


@dataclass(frozen=True)
class View(Maker):
    """One view of each image of a batch; colours and normalisation are those of ``batched``.

    Args:
        shorter: length to which the shorter side is brought where no box is drawn; None for
            ``size``.
        stretch: whether then both sides are brought to ``size``, whatever their ratio.
        name: of the registered pipeline whose draws it takes; None for no augmentation at all.
        options: the keys of that pipeline.
        number: of the view among all of its image.
    """

    shorter: int | None = None
    stretch: bool = False
    name: str | None = None
    options: Any = None
    number: int = 0

    def draw(self, sizes: NDArray[np.int64], seed: int, epoch: int, indexes: Any) -> Draws:
        """The random numbers of the view, one row an image."""
        key = keys(seed, epoch, indexes, self.number)
        if self.name is None:
            return draw_solo(_NOTHING, sizes, key)
        return DRAWS[self.name](self.options, sizes, key)

    def area(self, draws: Draws, sizes: NDArray[np.int64]) -> Area:
        """The part of each image that is seen."""
        square = np.full_like(sizes, self.size)
        if self.crop or self.stretch:
            return Area(draws.box, square)
        shorter = self.shorter or self.size
        short = sizes.min(axis=1, keepdims=True)
        # torchvision's rounding: the longer side is cut off, not rounded
        fit = np.where(sizes == short, shorter, (shorter * sizes / short).astype(np.int64))
        return Area(draws.box, fit)

    def augment(self, pixels: Tensor, chosen: Plan) -> Tensor:
        """Colours of views that are cropped and flipped already.

        Args:
            pixels: (3, n, size, size) uint8, in the plan's order.
            chosen: what happens to each.

        Returns:
            (3, n, size, size) float32 in [0, 1].
        """
        return self.alter(torch.mul(pixels, 1.0 / 255.0), chosen)


_NOTHING = SoloOptions(crop_size=1, rrc=Crop(enabled=False))


def augmented(pipelines: Sequence[Pipeline], *, channels_last: bool = False) -> list[View]:
    """The views of pretraining, in their order.

    Raises:
        ConfigError: for a pipeline that exists for single images alone.
    """
    views: list[View] = []
    for pipeline in pipelines:
        if pipeline.name not in DRAWS:
            raise ConfigError(
                f"{pipeline.key}.pipeline is {pipeline.name!r}, which data.format dali cannot "
                f"make: choose {' or '.join(sorted(DRAWS))}, or data.format image_folder"
            )
        if pipeline.colour_first:
            raise ConfigError(
                f"{pipeline.key}.order is colour_first: data.format dali decodes no more of an "
                "image than its crops; choose order crop_first, or data.format resident or "
                "image_folder"
            )
        options: Any = pipeline.options
        for _ in range(pipeline.num_crops):
            view = View(
                pipeline.crop_size,
                pipeline.mean,
                pipeline.std,
                crop=options.rrc.enabled,
                kernel=options.rrc.interpolation,
                channels_last=channels_last,
                name=pipeline.name,
                options=options,
                number=len(views),
            )
            views.append(view)
    return views


def probing(
    dataset: DatasetInfo, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> View:
    """A probe's training images, see ``standard.probe_options``."""
    options = probe_options(dataset, size)
    kernel = options.rrc.interpolation
    return View(size, mean, std, kernel=kernel, name="solo", options=options)


def unaugmented(
    dataset: DatasetInfo, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> View:
    """The images of validation, see ``standard.unaugmented``."""
    shorter, kernel = resizing(dataset, size)
    stretch = shorter is None
    return View(size, mean, std, crop=False, kernel=kernel, shorter=shorter, stretch=stretch)


def window(
    area: Area, size: int, flip: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a resize straight to the view's square has to read.

    Args:
        area: of the view.
        size: edge of the view.
        flip: (n,) whether the image is mirrored.

    Returns:
        First and last row and column in pixels of the stored image, (n, 2) each; of a mirrored
        image the columns the other way round.
    """
    scale = area.box[:, 2:] / area.fit
    start = area.box[:, :2] + scale * np.rint((area.fit - size) / 2.0)
    end = start + scale * size
    start[flip, 1], end[flip, 1] = end[flip, 1].copy(), start[flip, 1].copy()
    return start.astype(np.float32), end.astype(np.float32)


def central(length: int, size: int) -> int:
    """First pixel of the centre, as torchvision rounds it."""
    return round((length - size) / 2.0)
