# SPDX-License-Identifier: MIT
"""From decoded images to squares of 8 bits on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.decoders.dali.views import Area, central

__all__ = ["cut", "union"]


def union(areas: Sequence[Area]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The smallest boxes that hold what any of the views shows.

    Returns:
        First and last (exclusive) row and column, each (n, 2).
    """
    starts = np.stack([area.box[:, :2] for area in areas])
    ends = np.stack([area.box[:, :2] + area.box[:, 2:] for area in areas])
    return starts.min(axis=0), ends.max(axis=0)


def cut(
    image: Tensor, area: Area, origin: NDArray[np.int64], size: int, kernel: str, out: Tensor
) -> None:
    """One view of one image, resized with antialiasing as Pillow does it.

    Args:
        image: (H, W, 3) uint8, the decoded part.
        area: of this view and image, one row.
        origin: (2,) row and column of the stored image at which the decoded part begins.
        size: edge of the view.
        kernel: ``bicubic`` or ``bilinear``.
        out: (3, size, size) uint8, filled.
    """
    top, left, height, width = (int(value) for value in area.box[0])
    top, left = top - int(origin[0]), left - int(origin[1])
    part = image[top : top + height, left : left + width].permute(2, 0, 1)[None]
    fit = [int(length) for length in area.fit[0]]
    if fit != [height, width]:
        part = F.interpolate(part, fit, mode=kernel, antialias=True, align_corners=False)
    down, right = central(fit[0], size), central(fit[1], size)
    out.copy_(part[0, :, down : down + size, right : right + size])
