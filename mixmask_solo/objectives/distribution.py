# SPDX-License-Identifier: MIT
"""Cross entropy of a predicted distribution and a target one: SwAV's codes, DINO's teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.objectives.precision import full_precision

__all__ = ["cross_entropy", "log_probabilities", "sharpened"]


@full_precision
def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """``(N, K)`` log-softmax of ``logits (N, K)`` over ``temperature``."""
    return torch.log_softmax(logits / temperature, dim=1)


@full_precision
def cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    """``-sum_k target_k · log p_k``, linear in either argument.

    Args:
        log_p: ``(N, K)`` from :func:`log_probabilities`.
        target: ``(N, K)`` rows that sum to 1; no gradient flows into them.

    Returns:
        ``(N,)``.
    """
    return -(target.detach() * log_p).sum(1)


@full_precision
@torch.no_grad()
def sharpened(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """DINO's teacher: softmax of centred logits, without gradient.

    Args:
        logits: ``(N, K)``.
        center: ``(1, K)``, subtracted.
        temperature: T; a low one sharpens.

    Returns:
        ``(N, K)`` rows that sum to 1.
    """
    return torch.softmax((logits - center) / temperature, dim=1)
