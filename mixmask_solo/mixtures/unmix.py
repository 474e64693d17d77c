# SPDX-License-Identifier: MIT
"""The mixtures of Un-Mix: Mixup, the global one, and CutMix, the regional one."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixmask_solo.mixtures.mixture import Mixture, check_batch, check_lam, lam_dtype


def mixup(x: Tensor, lam: Tensor, partner: Tensor) -> Mixture:
    """Blends whole images: ``lam * x + (1 - lam) * x[partner]``.

    Args:
        x: ``(N, C, H, W)`` floating point.
        lam: own share within [0, 1], ``()`` or ``(1,)`` for the whole batch (as published) or
            ``(N,)``.
        partner: ``(N,)`` int64.

    Returns:
        The mixture; ``lam`` is the weight as applied, that is in the images' precision.

    Raises:
        ValueError: for wrong shapes, integer images or shares outside [0, 1].
    """
    check_batch(x, partner)
    check_lam(lam, len(x))
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}: Mixup blends values, convert the images to float first")
    weight = lam.to(x.dtype).expand(len(x))
    images = torch.lerp(x[partner], x, weight[:, None, None, None])
    return Mixture(images, weight.to(lam_dtype(x)), partner)


class Box(NamedTuple):
    """Rows ``top .. bottom - 1`` and columns ``left .. right - 1`` come from the partner."""

    top: Tensor  # int64, one value per box, as the next three
    bottom: Tensor
    left: Tensor
    right: Tensor
    lam: Tensor  # float64, the own share that is left


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
        lam: own share asked for, as for :func:`mixup`: one box for the batch, or one per image.
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
    row, column = (
        torch.randint(pixels, lam.shape, generator=generator, device=x.device)
        for pixels in (height, width)
    )
    box = cutmix_box(lam, (height, width), (row, column))
    rows = _between(box.top, box.bottom, height)[:, None, :, None]
    columns = _between(box.left, box.right, width)[:, None, None, :]
    images = torch.where(rows & columns, x[partner], x)
    return Mixture(images, box.lam.to(lam_dtype(x)).expand(len(x)), partner)


def _between(start: Tensor, stop: Tensor, pixels: int) -> Tensor:
    """``(k, pixels)`` bool: which pixels of an axis lie in ``start .. stop - 1``."""
    line = torch.arange(pixels, device=start.device)
    return (line >= start[:, None]) & (line < stop[:, None])
