# SPDX-License-Identifier: MIT
"""Who is mixed with whom, and how: MixMask, and Un-Mix's Mixup (global) and CutMix (regional)."""

from typing import NamedTuple

import torch
from torch import Tensor

from mixmask_solo.masks import upsample


class Mixture(NamedTuple):
    """A batch of mixed images; row i shows image i and image ``partner[i]``."""

    images: Tensor  # (N, C, H, W), dtype and memory format of the images that went in
    # (N,) share of row i that is image i's own, as achieved, not as requested; float32, or float64
    # for float64 images
    lam: Tensor
    partner: Tensor  # (N,) int64, whose pixels make up the rest


def partner(
    kind: str,
    n: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws or builds the partner of each image of a batch; always a permutation.

    - ``reverse``: i and n-1-i, as published for MixMask alone and for Un-Mix; the middle one of an
      odd batch is its own partner.
    - ``random``: a uniform permutation, as published for MixMask beside Un-Mix; on average one
      image per batch is its own partner.
    - ``roll``: i and i+1, the last and the first; nobody is its own partner from n = 2 on.

    Args:
        generator: source of randomness for ``random``; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n,)`` int64.

    Raises:
        ValueError: for another kind, or n < 1.
    """
    if n < 1:
        raise ValueError(f"n is {n}: need at least one image")
    if device is None and generator is not None:
        device = generator.device
    if kind == "reverse":
        return torch.arange(n - 1, -1, -1, device=device)
    if kind == "random":
        return torch.randperm(n, generator=generator, device=device)
    if kind == "roll":
        return torch.arange(1, n + 1, device=device) % n
    raise ValueError(f"partner kind is {kind!r}: choose reverse, random or roll")


def mixmask(x: Tensor, mask: Tensor, partner: Tensor) -> Mixture:
    """Mixes by a mask: ``m * x + (1 - m) * x[partner]`` (MixMask paper, Eq. 1).

    Every pixel is a copy of one of the two sources, bit for bit.

    Args:
        x: ``(N, C, H, W)`` of any dtype, any H and W.
        mask: bool, True = own pixel stays: cells ``(n, g, g)``, or pixels ``(n, 1, H, W)``; n is
            N, or 1 for one mask for the whole batch (as published).
        partner: ``(N,)`` int64.

    Returns:
        The mixture; ``lam`` is the mask's share of own *pixels* (Eq. 3), which differs from the
        share of cells where the grid does not divide the size.

    Raises:
        ValueError: for wrong shapes or dtypes.
    """
    _check_batch(x, partner)
    _check_mask(x, mask)
    own = upsample(mask, (x.shape[2], x.shape[3])) if mask.ndim == 3 else mask
    lam = own.mean((1, 2, 3), dtype=_lam_dtype(x)).expand(len(x))
    return Mixture(torch.where(own, x, x[partner]), lam, partner)


def mixup(x: Tensor, lam: Tensor | float, partner: Tensor) -> Mixture:
    """Blends whole images: ``lam * x + (1 - lam) * x[partner]``.

    Args:
        x: ``(N, C, H, W)`` floating point.
        lam: own share within [0, 1]: a number, ``()`` or ``(1,)`` for the whole batch (as
            published), or ``(N,)``.
        partner: ``(N,)`` int64.

    Returns:
        The mixture; ``lam`` is the weight as applied, that is in the images' precision.

    Raises:
        ValueError: for wrong shapes, integer images or shares outside [0, 1].
    """
    _check_batch(x, partner)
    lam = _share(lam, len(x), x)
    if not x.is_floating_point():
        raise ValueError(f"x is {x.dtype}: Mixup blends values, convert the images to float first")
    weight = lam.to(x.dtype)
    images = torch.lerp(x[partner], x, weight.expand(len(x))[:, None, None, None])
    return Mixture(images, weight.to(_lam_dtype(x)).expand(len(x)), partner)


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
    x: Tensor, lam: Tensor | float, partner: Tensor, *, generator: torch.Generator | None = None
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
    _check_batch(x, partner)
    lam = _share(lam, len(x), x)
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
    return Mixture(images, box.lam.to(_lam_dtype(x)).expand(len(x)), partner)


def _between(start: Tensor, stop: Tensor, pixels: int) -> Tensor:
    """``(k, pixels)`` bool: which pixels of an axis lie in ``start .. stop - 1``."""
    line = torch.arange(pixels, device=start.device)
    return (line >= start[:, None]) & (line < stop[:, None])


def _check_batch(x: Tensor, partner: Tensor) -> None:
    """Raises ValueError unless x is ``(N, C, H, W)`` and partner ``(N,)`` int64 within 0 .. N-1."""
    if x.ndim != 4:
        raise ValueError(f"x has shape {tuple(x.shape)}: need images (N, C, H, W)")
    if partner.shape != (len(x),) or partner.dtype != torch.int64:
        raise ValueError(
            f"partner is {partner.dtype} of shape {tuple(partner.shape)}: "
            f"need one int64 index per image, shape ({len(x)},)"
        )
    # On another device the values stay unread: looking at them would wait for it.
    if partner.device.type == "cpu" and bool(((partner < 0) | (partner >= len(x))).any()):
        raise ValueError(f"partner has indices outside 0 .. {len(x) - 1}")


def _share(lam: Tensor | float, n: int, x: Tensor) -> Tensor:
    """``()``, ``(1,)`` or ``(N,)`` floating point within [0, 1]; raises ValueError otherwise."""
    if not isinstance(lam, Tensor):
        if not 0 <= lam <= 1:
            raise ValueError(f"lam is {lam}: give a share within [0, 1]")
        return torch.full((), lam, dtype=_lam_dtype(x), device=x.device)
    if lam.shape not in {(), (1,), (n,)} or not lam.is_floating_point():
        raise ValueError(
            f"lam is {lam.dtype} of shape {tuple(lam.shape)}: "
            f"need floating-point shares, one for all or one per image ({n},)"
        )
    if lam.device.type == "cpu" and not bool(((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("lam has values outside [0, 1]")
    return lam


def _lam_dtype(x: Tensor) -> torch.dtype:
    """float64 for float64 images, float32 for all others."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _check_mask(x: Tensor, mask: Tensor) -> None:
    n, _, height, width = x.shape
    if mask.dtype != torch.bool:
        raise ValueError(f"mask is {mask.dtype}: need bool, True where the own pixel stays")
    shaped = mask.ndim == 3 or (mask.ndim == 4 and mask.shape[1:] == (1, height, width))
    if not shaped or mask.shape[0] not in (1, n):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: need cells (n, g, g) or pixels "
            f"(n, 1, {height}, {width}) with n = {n}, or 1 for one mask for all"
        )
