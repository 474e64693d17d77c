# SPDX-License-Identifier: MIT
"""From cells to pixels: nearest upsampling, and shares without any pixels."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["cell_of_pixel", "own_share", "upsample"]


def cell_of_pixel(cells: int, pixels: int, device: torch.device | None = None) -> Tensor:
    """``(pixels,)`` int64: pixel r lies in cell ``floor(r * cells / pixels)``."""
    return torch.arange(pixels, device=device) * cells // pixels


def upsample(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Nearest upsampling of grid masks to an image of any size.

    Args:
        mask: ``(n, g, g)`` of any dtype; rows and columns may differ in number.
        size: height and width of the image.

    Returns:
        ``(n, 1, H, W)`` of the same dtype.

    Raises:
        ValueError: for another number of axes.
    """
    _check_grid(mask)
    rows = cell_of_pixel(mask.shape[1], size[0], mask.device)
    columns = cell_of_pixel(mask.shape[2], size[1], mask.device)
    return mask[:, None, rows[:, None], columns]


def own_share(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """The share of ones ``upsample`` would give, computed on the grid.

    Args:
        mask: ``(n, g, g)`` bool, or numbers within [0, 1].
        size: height and width of the image.

    Returns:
        ``(n,)`` float32.

    Raises:
        ValueError: for another number of axes.
    """
    _check_grid(mask)
    heights = _pixels_per_cell(mask.shape[1], size[0], mask.device)
    widths = _pixels_per_cell(mask.shape[2], size[1], mask.device)
    pixels = (mask.double() @ widths) @ heights
    return (pixels / (size[0] * size[1])).float()


def _pixels_per_cell(cells: int, pixels: int, device: torch.device) -> Tensor:
    """``(cells,)`` float64; cell i starts at pixel ``ceil(i * pixels / cells)``."""
    start = (torch.arange(cells + 1, device=device) * pixels + cells - 1) // cells
    return start.diff().double()


def _check_grid(mask: Tensor) -> None:
    if mask.ndim != 3:
        raise ValueError(f"mask has shape {tuple(mask.shape)}: need (n, rows, columns) of cells")
