# SPDX-License-Identifier: MIT
"""Augmented views of whole batches, in plain torch, on whatever device the images are.

The steps are those of the pipelines ``solo`` and ``glyphs`` in their order, every one after the
crop on the images that need it alone. What differs from the PIL decoder:

* Pillow rounds to 8 bits after any operation, cuts decimals off in each blend of the jitter, and
  works out hue with 8 bits; here all is float32. For equal draws of the MoCo v2 augmentation on
  smooth pictures the views differ by 1.2 grey levels on average (0.9 of it brighter, those cut-off
  decimals), by 6 at the 99 % quantile; the crop alone by 0.3, the blur by 0.2.
* Random numbers come from ``augmentations.draws``: same distributions, other numbers.

Plain torch and not kornia, which draws its own numbers on the device: nothing to resume from.
``benchmarks/data.py`` measures what this reaches beside the PIL decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.batched.blur import blur
from mixmask_solo.data.batched.colour import grey, jitter
from mixmask_solo.data.batched.crop import Kernel, box_weights, resample
from mixmask_solo.data.batched.exact import whole_image
from mixmask_solo.data.batched.plan import Plan, plan, to_device
from mixmask_solo.data.batched.rotate import rotate
from mixmask_solo.data.batched.tone import equalize, solarize

__all__ = ["Maker", "Take"]

Take = Callable[[NDArray[np.int64]], Tensor]
"""From n numbers of images to (3, n, H, W) uint8 on the device that makes views."""

# Views that are worked on together on the CPU: their planes should stay in its cache.
_PIXELS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Maker:
    """Makes the views of one pipeline.

    Args:
        size: edge of the views.
        mean: per channel.
        std: per channel.
        crop: whether boxes are drawn; else the whole image is brought to the size, the centre cut
            out where it is not square.
        kernel: of the crop.
        colour_first: whether jitter and grey come before the crop, on the whole image.
        channels_last: memory format of the result.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: bool = True
    kernel: Kernel = "bicubic"
    colour_first: bool = False
    channels_last: bool = False

    @torch.no_grad()
    def __call__(
        self, take: Take, indexes: NDArray[np.int64], draws: Draws, device: torch.device
    ) -> Tensor:
        """The views of a batch.

        Args:
            take: where pixels come from.
            indexes: (n,) which image each view is of.
            draws: one row a view.
            device: where ``take`` puts pixels.

        Returns:
            (n, 3, size, size) float32, normalised.
        """
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        shape = (len(indexes), 3, self.size, self.size)
        result = torch.empty(shape, device=device, memory_format=layout)
        step = len(indexes)
        if device.type == "cpu":
            step = max(1, _PIXELS_AT_ONCE // self.size**2)
        for first in range(0, len(indexes), step):
            part = slice(first, first + step)
            chosen = plan(draws.rows(part), device)
            planes = self.augment(take(indexes[part][chosen.order]), chosen)
            self._finish(planes, chosen.back, result[part])
        return result

    def augment(self, pixels: Tensor, chosen: Plan) -> Tensor:
        """The views in the plan's order, before normalisation.

        Args:
            pixels: (3, n, H, W) uint8, in the plan's order.
            chosen: what happens to each.

        Returns:
            (3, n, size, size) float32 in [0, 1].
        """
        rows, columns = self._weights(pixels.shape[2], pixels.shape[3], chosen)
        planes = torch.mul(pixels, 1.0 / 255.0)
        if self.colour_first:
            _colours(planes, chosen)
        return self.alter(resample(planes, rows, columns), chosen)

    def alter(self, planes: Tensor, chosen: Plan) -> Tensor:
        """Everything between crop and normalisation, partly in place.

        Args:
            planes: (3, n, size, size) float32 in [0, 1], in the plan's order.
            chosen: what happens to each.

        Returns:
            Planes of the same shape and range.
        """
        if chosen.rotated is not None:
            which, degrees = chosen.rotated
            _replace(planes, which, rotate(planes.index_select(1, which), degrees))
        if not self.colour_first:
            _colours(planes, chosen)
        if chosen.blurred is not None:
            which, sigma = chosen.blurred
            _replace(planes, which, blur(planes.index_select(1, which), sigma))
        for group, change in ((chosen.solarized, solarize), (chosen.equalized, equalize)):
            if group is not None:
                _replace(planes, group, change(planes.index_select(1, group)))
        return planes

    def _weights(self, height: int, width: int, chosen: Plan) -> tuple[Tensor, Tensor]:
        if self.crop:
            top, left, rows, columns = chosen.box
            return (
                box_weights(top, rows, height, self.size, self.kernel),
                box_weights(left, columns, width, self.size, self.kernel, chosen.flip),
            )
        fixed = whole_image(height, width, self.size, self.kernel)
        down, across = (to_device(axis.astype(np.float32), chosen.flip.device) for axis in fixed)
        both = torch.stack([across, across.flip(0)])
        return down[None], both.index_select(0, chosen.flip.long())

    def _finish(self, planes: Tensor, back: Tensor, result: Tensor) -> None:
        """Normalises, and puts the views where they belong."""
        for channel in range(3):
            mean, std = self.mean[channel], self.std[channel]
            planes[channel].mul_(1.0 / std).sub_(mean / std)
        result.copy_(planes.index_select(1, back).transpose(0, 1))


def _colours(planes: Tensor, chosen: Plan) -> None:
    """Jitter and grey, in place."""
    if chosen.jittered:
        jitter(planes[:, : chosen.jittered], chosen.blends, chosen.hues, chosen.turns)
    if chosen.gray is not None:
        which = chosen.gray
        _replace(planes, which, grey(planes.index_select(1, which)).expand(3, -1, -1, -1))


def _replace(planes: Tensor, which: Tensor, new: Tensor) -> None:
    planes.index_copy_(1, which, new)
