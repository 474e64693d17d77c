# SPDX-License-Identifier: MIT
"""Gaussian blur of a batch, and what it takes away: the high-pass filter of MSCN."""

import torch
from torch import Tensor
from torch.nn import functional as F


def blur(x: Tensor, sigma: float, kernel: int) -> Tensor:
    """Blurs images by a Gaussian cut off at ``kernel`` pixels, borders mirrored without the edge.

    A matrix an axis instead of a convolution: the same on every device, exact at the borders, and
    cheap beside a network's pass whatever the kernel is.

    Args:
        x: ``(N, C, H, W)`` floating point.
        sigma: deviation in pixels, above 0.
        kernel: odd number of pixels, less than twice the image's side.

    Returns:
        ``(N, C, H, W)`` of the same dtype.

    Raises:
        ValueError: for another deviation or kernel.
    """
    height, width = x.shape[2:]
    if sigma <= 0 or kernel < 1 or kernel % 2 == 0 or kernel // 2 >= min(height, width):
        raise ValueError(
            f"sigma is {sigma} and kernel is {kernel}: need sigma > 0 and an odd kernel, below "
            f"{2 * min(height, width)} for images of {height}x{width}"
        )
    rows, columns = (_matrix(pixels, sigma, kernel, x) for pixels in (height, width))
    return rows @ x @ columns.T


def high_pass(x: Tensor, sigma: float, kernel: int) -> Tensor:
    """An image less its blurred copy, ``x - blur(x)``: edges and textures (MSCN, Fig. 2).

    Arguments, result and errors are those of :func:`blur`.
    """
    return x - blur(x, sigma, kernel)


def _matrix(pixels: int, sigma: float, kernel: int, like: Tensor) -> Tensor:
    """``(pixels, pixels)``: row i weighs the pixels that make up the blurred pixel i."""
    radius = kernel // 2
    offsets = torch.arange(-radius, radius + 1, device=like.device, dtype=like.dtype)
    taps = (offsets.square() / (-2 * sigma**2)).exp()
    line = torch.arange(pixels, device=like.device, dtype=like.dtype)
    seen = F.pad(line[None], (radius, radius), mode="reflect")[0].long().unfold(0, kernel, 1)
    matrix = torch.zeros(pixels, pixels, device=like.device, dtype=like.dtype)
    return matrix.scatter_add_(1, seen, (taps / taps.sum()).expand(pixels, kernel))
