# SPDX-License-Identifier: MIT
"""What every way of mixing returns, and the checks of what it takes."""

from typing import NamedTuple

import torch
from torch import Tensor


class Mixture(NamedTuple):
    """A batch of mixed images; row i shows image i and image ``partner[i]``."""

    images: Tensor  # (N, C, H, W), dtype and memory format of the images that went in
    # (N,) share of row i that is image i's own, as achieved, not as requested; float32, or float64
    # for float64 images
    lam: Tensor
    partner: Tensor  # (N,) int64, whose pixels make up the rest


def check_batch(x: Tensor, partner: Tensor) -> None:
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


def check_lam(lam: Tensor, n: int) -> None:
    """Raises ValueError unless lam is ``()``, ``(1,)`` or ``(N,)`` floating point within [0, 1]."""
    if lam.shape not in {(), (1,), (n,)} or not lam.is_floating_point():
        raise ValueError(
            f"lam is {lam.dtype} of shape {tuple(lam.shape)}: "
            f"need floating-point shares, one for all or one per image ({n},)"
        )
    if lam.device.type == "cpu" and not bool(((lam >= 0) & (lam <= 1)).all()):
        raise ValueError("lam has values outside [0, 1]")


def lam_dtype(x: Tensor) -> torch.dtype:
    """float64 for float64 images, float32 for all others."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32
