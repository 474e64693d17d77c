# SPDX-License-Identifier: MIT
"""From cells to pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["upsample"]


def upsample(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest upsampling of grid masks: pixel (r, c) lies in cell (floor(r·g/H), floor(c·g/W)).

    In integers: ``F.interpolate`` takes no bool, and rounds where g does not divide the size.

    Args:
        mask: ``(n, g, g)`` of any dtype; rows and columns may differ in number.
        size: height and width of the image.

    Returns:
        ``(n, 1, H, W)`` of the same dtype.

    Raises:
        ValueError: for another number of axes.
    """
    if mask.ndim != 3:
        raise ValueError(f"mask has shape {tuple(mask.shape)}: need (n, rows, columns) of cells")
    rows, columns = (
        torch.arange(pixels, device=mask.device) * cells // pixels
        for cells, pixels in zip(mask.shape[1:], size, strict=True)
    )
    return mask[:, None, rows[:, None], columns]
