# SPDX-License-Identifier: MIT
"""Which part of each image a view shows, and on the CPU, how it becomes a square of 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.batched.views import View

__all__ = ["Area", "area", "union"]


@dataclass(frozen=True)
class Area:
    """What part of each image of a batch a view shows.

    Attributes:
        view: the view.
        draws: its random numbers; ``box`` is resized.
        fit: (n, 2) int64 height and width to which it is resized; the centre of that, a square of
            the view's edge, is shown.
    """

    view: View
    draws: Draws
    fit: NDArray[np.int64]

    def cut(self, row: int, image: Tensor, origin: NDArray[np.int64], out: Tensor) -> None:
        """One image resized with antialiasing as Pillow does it, not mirrored.

        Args:
            row: of the batch.
            image: (H, W, 3) uint8, the decoded part.
            origin: (2,) row and column of the stored image at which that begins.
            out: (3, size, size) uint8, filled.
        """
        top, left, height, width = self.draws.box[row].tolist()
        top, left = top - int(origin[0]), left - int(origin[1])
        part = image[top : top + height, left : left + width].permute(2, 0, 1)[None]
        fit, size = self.fit[row].tolist(), self.view.size
        if fit != [height, width]:
            kernel = self.view.kernel
            part = F.interpolate(part, fit, mode=kernel, antialias=True, align_corners=False)
        down, right = (round((length - size) / 2.0) for length in fit)  # torchvision's rounding
        out.copy_(part[0, :, down : down + size, right : right + size])

    def window(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """First and last row and column, (n, 2) each, of a resize straight to the shown square.

        In pixels of the stored image; of a mirrored one the columns the other way round.
        """
        size, box, flip = self.view.size, self.draws.box, self.draws.flip
        scale = box[:, 2:] / self.fit
        start = box[:, :2] + scale * np.rint((self.fit - size) / 2.0)
        end = start + scale * size
        start[flip, 1], end[flip, 1] = end[flip, 1].copy(), start[flip, 1].copy()
        return start.astype(np.float32), end.astype(np.float32)


def area(view: View, draws: Draws, sizes: NDArray[np.int64]) -> Area:
    """What a view shows of images of (n, 2) height and width."""
    fit = np.full_like(sizes, view.size)
    if view.shorter is not None:
        short = sizes.min(axis=1, keepdims=True)
        # torchvision's rounding: the longer side is cut off, not rounded
        longer = (view.shorter * sizes / short).astype(np.int64)
        fit = np.where(sizes == short, view.shorter, longer)
    return Area(view, draws, fit)


def union(areas: Sequence[Area]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last (exclusive) row and column, (n, 2) each, of what any of the views shows."""
    boxes = np.stack([area.draws.box for area in areas])
    return boxes[..., :2].min(axis=0), (boxes[..., :2] + boxes[..., 2:]).max(axis=0)
