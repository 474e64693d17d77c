# SPDX-License-Identifier: MIT
"""What the mixtures share: checks of their input, and rows of a batch in its memory format."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["check_batch", "check_lam", "lam_dtype", "take", "where_own"]


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


def is_channels_last(x: Tensor) -> bool:
    """Whether x is laid out as (N, H, W, C) and not as (N, C, H, W) at the same time."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def take(x: Tensor, index: Tensor) -> Tensor:
    """``x[index]`` in the memory format of x, ``(N, C, H, W)``."""
    if is_channels_last(x):
        return x.permute(0, 2, 3, 1).index_select(0, index).permute(0, 3, 1, 2)
    return x.index_select(0, index)


def where_own(own: Tensor, x: Tensor, partner: Tensor) -> Tensor:
    """Pixels of x where ``own`` is true, of ``x[partner]`` elsewhere.

    Args:
        own: ``(n, 1, H, W)`` bool, n = N or 1.
        x: ``(N, C, H, W)``.
        partner: ``(N,)`` int64.
    """
    other = take(x, partner)
    if x.requires_grad and torch.is_grad_enabled():
        return torch.where(own, x, other)
    return torch.where(own, x, other, out=other)  # saves a third tensor of this size
