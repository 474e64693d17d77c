# SPDX-License-Identifier: MIT
"""CutMix: the regional mixture of Un-Mix."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mixmask_solo.mixtures.mixture import Mixture, check_batch, check_lam, lam_dtype

__all__ = ["Box", "cutmix", "cutmix_box"]


class Box(NamedTuple):
    """Rows ``top .. bottom - 1`` and columns ``left .. right - 1`` come from the partner.

    Args:
        top, bottom, left, right: int64, one value per box.
        lam: float64, the own share that is left.
    """

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor
    lam: Tensor


def cutmix_box(lam: Tensor, size: tuple[int, int], center: tuple[Tensor, Tensor]) -> Box:
    """Places boxes of side factor ``sqrt(1 - lam)`` and clips them to the image.

    Half-sides are ``floor(floor(side * sqrt(1 - lam)) / 2)`` as in the published code, so odd
    sides lose a pixel; what clipping and rounding take off is added to the share.

    Args:
        lam: ``(k,)`` or ``()`` own share asked for.
        size: height and width of the image.
        center: row and column of the centre, integers of the same shape.

    Returns:
        The boxes with the share achieved; 0.7 on average for lam and centre uniform.
    """
    factor = (1 - lam.double()).sqrt()
    edges = []
    for pixels, middle in zip(size, center, strict=True):
        half = (pixels * factor).long() // 2
        edges += [(middle - half).clamp(0, pixels), (middle + half).clamp(0, pixels)]
    top, bottom, left, right = edges
    area = (bottom - top) * (right - left)
    return Box(top, bottom, left, right, 1 - area.double() / (size[0] * size[1]))


def cutmix(
    x: Tensor, lam: Tensor, partner: Tensor, *, generator: torch.Generator | None = None
) -> Mixture:
    """Replaces a box by the partner's pixels, the centre uniform over the pixels.

    Args:
        x: ``(N, C, H, W)`` of any dtype.
        lam: own share asked for, within [0, 1]: ``()`` or ``(1,)`` for one box for the whole batch
            (as published), ``(N,)`` for a box per image.
        partner: ``(N,)`` int64.
        generator: source of randomness on the device of x; torch's default where None.

    Returns:
        The mixture; ``lam`` is the share achieved after clipping.

    Raises:
        ValueError: for wrong shapes or shares outside [0, 1].
    """
    check_batch(x, partner)
    check_lam(lam, len(x))
    height, width = x.shape[2:]
    lam = lam.to(x.device).view(-1)
    center = [
        torch.randint(pixels, lam.shape, generator=generator, device=x.device)
        for pixels in (height, width)
    ]
    box = cutmix_box(lam, (height, width), (center[0], center[1]))
    rows = _between(box.top, box.bottom, height)[:, None, :, None]
    columns = _between(box.left, box.right, width)[:, None, None, :]
    images = torch.where(rows & columns, x[partner], x)
    return Mixture(images, box.lam.to(lam_dtype(x)).expand(len(x)), partner)


def _between(start: Tensor, stop: Tensor, pixels: int) -> Tensor:
    """``(k, pixels)`` bool: which pixels of an axis lie in ``start .. stop - 1``."""
    line = torch.arange(pixels, device=start.device)
    return (line >= start[:, None]) & (line < stop[:, None])
