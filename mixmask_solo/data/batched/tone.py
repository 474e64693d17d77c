# SPDX-License-Identifier: MIT
"""Solarisation and histogram equalisation of a batch, by Pillow's rules."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["equalize", "solarize"]

_LEVELS = 256


def solarize(planes: Tensor) -> Tensor:
    """Inverts what is at least half as bright as can be.

    Pillow's limit is 128 of 255; half is the value from which a pixel would be rounded to it.

    Args:
        planes: (3, n, S, S) float in [0, 1].

    Returns:
        (3, n, S, S), new memory.
    """
    return torch.where(planes < 0.5, planes, 1.0 - planes)


def equalize(planes: Tensor) -> Tensor:
    """Flattens the histogram of each channel of each image: 256 levels, integer arithmetic.

    Args:
        planes: (3, n, S, S) float in [0, 1]; rounded to 8 bits first, as there is no histogram
            of real numbers.

    Returns:
        (3, n, S, S) multiples of 1/255, new memory.
    """
    levels = (planes * 255.0).round_().clamp_(0, 255).flatten(2).flatten(0, 1).to(torch.int64)
    histogram = torch.zeros(len(levels), _LEVELS, dtype=torch.int64, device=planes.device)
    histogram.scatter_add_(1, levels, torch.ones_like(levels))
    below = histogram.cumsum(1) - histogram
    last = torch.arange(_LEVELS, device=planes.device).mul(histogram > 0).amax(1, keepdim=True)
    step = below.gather(1, last) // (_LEVELS - 1)  # pixels that are not of the brightest level
    table = ((below + step // 2) // step.clamp(min=1)).clamp_(max=_LEVELS - 1)
    identity = torch.arange(_LEVELS, device=planes.device).expand_as(table)
    table = torch.where(step > 0, table, identity)
    return table.gather(1, levels).to(planes.dtype).div_(255.0).view_as(planes)
