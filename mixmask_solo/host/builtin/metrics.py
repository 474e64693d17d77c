# SPDX-License-Identifier: MIT
"""Accuracy and cross entropy of the linear classifiers; a target of -1 has no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives import full_precision

__all__ = ["accuracy_at_k", "class_loss", "weighted_mean"]

UNLABELLED = -1


@full_precision
def class_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross entropy over the labelled samples, 0 if there is none.

    Args:
        logits: ``(N, C)``.
        targets: ``(N,)`` int64, -1 without label.

    Returns:
        Scalar, in float32 at least.
    """
    total = F.cross_entropy(logits, targets, ignore_index=UNLABELLED, reduction="sum")
    return total / (targets != UNLABELLED).sum().clamp_min(1)


@torch.no_grad()
def accuracy_at_k(
    logits: Tensor, targets: Tensor, top_k: Sequence[int] = (1, 5)
) -> tuple[Tensor, ...]:
    """Percentage of samples whose class is among the k best, for each k.

    Args:
        logits: ``(N, C)``; a k above C means C.
        targets: ``(N,)`` int64; those without label count as misses, as in solo-learn.
        top_k: the k's.

    Returns:
        One scalar tensor per k; nothing waits for the device.
    """
    best = logits.topk(min(max(top_k), logits.shape[1]), dim=1).indices
    hits = best == targets.unsqueeze(1)
    return tuple(hits[:, :k].any(1).float().mean() * 100.0 for k in top_k)


def weighted_mean(outputs: Sequence[Mapping[str, Any]], key: str, weight: str) -> Tensor:
    """Mean of ``key`` over batches of unequal size ``weight``."""
    values = torch.stack([torch.as_tensor(o[key]) for o in outputs])
    weights = torch.tensor([o[weight] for o in outputs], dtype=values.dtype, device=values.device)
    return (values * weights).sum() / weights.sum()
