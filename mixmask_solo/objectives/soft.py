# SPDX-License-Identifier: MIT
"""The λ-weighted sum of two pair losses, the heart of every mixture loss."""

from __future__ import annotations

from torch import Tensor

__all__ = ["soft"]


def soft(own: Tensor, other: Tensor, lam: Tensor) -> Tensor:
    """``lam·own + (1 - lam)·other`` (MixMask paper, Eq. 6, per sample).

    With ``own = loss(pred, target)`` and ``other = loss(pred, target[partner])`` the mean equals
    the published form, which re-orders the mixed queries by the inverse permutation instead.

    Args:
        own: ``(N,)`` losses against the image's own target.
        other: ``(N,)`` losses against the partner's target.
        lam: ``(N,)`` own shares, or a scalar tensor.

    Returns:
        ``(N,)``.
    """
    return lam * own + (1.0 - lam) * other
