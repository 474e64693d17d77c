# SPDX-License-Identifier: MIT
"""MixMask: an image keeps its masked-in cells and shows its partner in the others."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.masks import own_share, upsample
from mixmask_solo.masks.upsample import cell_of_pixel
from mixmask_solo.mixtures.batch import check_batch, is_channels_last, lam_dtype, where_own
from mixmask_solo.mixtures.mixture import Mixture

__all__ = ["mixmask"]

_SEGMENT_BYTES = 32  # below this, copying segments is slower than choosing pixels


def mixmask(x: Tensor, mask: Tensor, partner: Tensor) -> Mixture:
    """Mixes by a mask: ``m * x + (1 - m) * x[partner]`` (MixMask paper, Eq. 1).

    Pixel (r, c) belongs to cell (floor(r * g / H), floor(c * g / W)). Every pixel is a copy of one
    of the two sources, bit for bit; no mask of the images' size and dtype is ever built.

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
    check_batch(x, partner)
    _check_mask(x, mask)
    if mask.ndim == 4:
        images, share = where_own(mask, x, partner), mask.mean((1, 2, 3), dtype=torch.float32)
    else:
        images, share = _mix_cells(x, mask, partner), own_share(mask, (x.shape[2], x.shape[3]))
    return Mixture(images, share.to(lam_dtype(x)).expand(len(x)), partner)


def _mix_cells(x: Tensor, mask: Tensor, partner: Tensor) -> Tensor:
    """Mixes by cells, in whichever of two ways moves fewer bytes."""
    n, channels, height, width = x.shape
    columns = mask.shape[2]
    last = is_channels_last(x)
    length = width // columns * (channels if last else 1)
    if width % columns or length * x.element_size() < _SEGMENT_BYTES:
        return where_own(upsample(mask, (height, width)), x, partner)
    if not last:
        return _mix_segments(x.contiguous(), mask, partner)
    lines = x.permute(0, 2, 3, 1).reshape(n, 1, height, width * channels)
    mixed = _mix_segments(lines, mask, partner)
    return mixed.view(n, height, width, channels).permute(0, 3, 1, 2)


def _mix_segments(x: Tensor, mask: Tensor, partner: Tensor) -> Tensor:
    """One gather of the runs of pixels that lie in one row of one cell: one read, one write.

    Args:
        x: ``(N, C, H, W)`` contiguous.
        mask: ``(n, g, g')`` with g' a divisor of W.
        partner: ``(N,)``.
    """
    n, channels, height, width = x.shape
    columns = mask.shape[2]
    own = torch.arange(n, device=x.device)[:, None, None]
    source = torch.where(mask, own, partner[:, None, None])  # (N, g, g'): which image to read
    source = source[:, cell_of_pixel(mask.shape[1], height, x.device)]  # (N, H, g')
    segments = channels * height * columns  # of one image
    within = torch.arange(segments, device=x.device).view(channels, height, columns)
    index = source[:, None] * segments + within  # (N, C, H, g')
    return x.view(-1, width // columns).index_select(0, index.flatten()).view(x.shape)


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
