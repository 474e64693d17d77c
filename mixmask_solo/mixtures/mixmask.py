# SPDX-License-Identifier: MIT
"""MixMask: an image keeps its masked-in cells and shows its partner in the others."""

import torch
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.mixtures.mixture import Mixture, check_batch, lam_dtype


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
    check_batch(x, partner)
    _check_mask(x, mask)
    own = upsample(mask, (x.shape[2], x.shape[3])) if mask.ndim == 3 else mask
    lam = own.mean((1, 2, 3), dtype=lam_dtype(x)).expand(len(x))
    return Mixture(torch.where(own, x, x[partner]), lam, partner)


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
