# SPDX-License-Identifier: MIT
"""Un-augmented images with the very pixels of Pillow's resize.

Pillow resizes 8-bit images in fixed point: weights are rounded to 22 bits, sums of products are
rounded to 8 bits after each of the two passes. All these numbers are integers below 2^53, so that
matrix products in float64 repeat them exactly, in any order of summation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.batched.crop import Kernel

__all__ = ["Unaugmented", "axis_weights", "resize", "whole_image"]

_BITS = 22
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Unaugmented:
    """Batches of the test protocol: what ``standard.unaugmented`` makes of single images.

    Args:
        size: edge of the result.
        mean: per channel.
        std: per channel.
        shorter: length of the shorter side before the centre is cut out; None to bring both
            sides to ``size``.
        kernel: of the resize.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shorter: int | None
    kernel: Kernel

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """(3, N, H, W) uint8 to (N, 3, size, size) float32, normalised."""
        height, width = pixels.shape[2:]
        if self.shorter is not None:
            axes = whole_image(height, width, self.size, self.kernel, self.shorter)
            pixels = resize(pixels, *axes)
        elif (height, width) != (self.size, self.size):
            rows, columns = (axis_weights(e, self.size, self.kernel) for e in (height, width))
            pixels = resize(pixels, rows, columns)
        # the order of torchvision's operations, for the last bit's sake
        result = pixels.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=result.device)[:, None, None]
            for values in (self.mean, self.std)
        )
        return result.div_(255).sub_(mean).div_(std)


def axis_weights(edge: int, size: int, kernel: Kernel, part: slice = slice(None)) -> Matrix:
    """Pillow's weights of one axis, before they are rounded.

    Args:
        edge: pixels of the stored image.
        size: pixels of the result.
        kernel: of the resize.
        part: of the result; all of it may be gigabytes where a stripe is enlarged.

    Returns:
        (size, edge), or those of its rows that are asked for.
    """
    scale = edge / size
    stretch = max(scale, 1.0)
    center = (np.arange(size)[part] + 0.5) * scale
    distance = np.abs((np.arange(edge)[None, :] - center[:, None] + 0.5) / stretch)
    if kernel == "bicubic":
        inner = (1.5 * distance - 2.5) * distance**2 + 1.0
        outer = (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5
        weights = np.where(distance < 1.0, inner, np.where(distance < 2.0, outer, 0.0))
    else:
        weights = np.maximum(0.0, 1.0 - distance)
    result: Matrix = weights / weights.sum(axis=1, keepdims=True)
    return result


def whole_image(
    height: int, width: int, size: int, kernel: Kernel, shorter: int | None = None
) -> tuple[Matrix, Matrix]:
    """The shorter side brought to a length, then the central square, as torchvision rounds.

    Args:
        height: of the stored image.
        width: of the stored image.
        size: edge of the square.
        kernel: of the resize.
        shorter: length of the shorter side, at least ``size``, which it is by default.

    Returns:
        Weights of rows (size, height) and columns (size, width).
    """
    shorter = shorter or size
    longer = int(shorter * max(height, width) / min(height, width))
    new = (shorter, longer) if height <= width else (longer, shorter)
    axes = []
    for edge, length in zip((height, width), new, strict=True):
        first = round((length - size) / 2.0)
        axes.append(axis_weights(edge, length, kernel, slice(first, first + size)))
    return axes[0], axes[1]


def resize(pixels: Tensor, rows: Matrix, columns: Matrix) -> Tensor:
    """Pillow's result, bit for bit.

    Args:
        pixels: (3, N, H, W) uint8.
        rows: (S, H) weights.
        columns: (S, W).

    Returns:
        (3, N, S, S) uint8.
    """
    across = _fixed(columns, pixels.device)
    down = _fixed(rows, pixels.device)
    wide = _rounded(pixels.to(torch.float64) @ across.T)
    return _rounded(down @ wide).to(torch.uint8)


def _fixed(weights: Matrix, device: torch.device) -> Tensor:
    scaled = weights * 2.0**_BITS
    whole = np.trunc(scaled + np.where(scaled < 0, -0.5, 0.5))
    return torch.from_numpy(whole).to(device)


def _rounded(sums: Tensor) -> Tensor:
    return sums.add_(2.0 ** (_BITS - 1)).mul_(2.0**-_BITS).floor_().clamp_(0.0, 255.0)
