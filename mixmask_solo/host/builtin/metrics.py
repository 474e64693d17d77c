# SPDX-License-Identifier: MIT
"""Accuracy and cross entropy of the linear classifiers; a target of -1 has no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.host.knn import UNLABELLED
from mixmask_solo.objectives import full_precision

__all__ = ["accuracy_at_k", "class_loss", "labelled_means", "over_processes"]


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
    """Percentage of labelled samples whose class is among the k best, for each k.

    Args:
        logits: ``(N, C)``; a k above C means C.
        targets: ``(N,)`` int64, -1 without label.
        top_k: the k's.

    Returns:
        One scalar tensor per k, 0 without any label; nothing waits for the device.
    """
    best = logits.topk(min(max(top_k), logits.shape[1]), dim=1).indices
    hits = best == targets.unsqueeze(1)
    count = (targets != UNLABELLED).sum().clamp_min(1)
    return tuple(hits[:, :k].sum() * 100.0 / count for k in top_k)


def over_processes(sums: Tensor) -> Tensor:
    """The sum over all training processes, which all call this; in place."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(sums)
    return sums


def labelled_means(
    outputs: Sequence[Mapping[str, Any]], names: Sequence[str], device: torch.device
) -> dict[str, Tensor]:
    """Means over the labelled images of all batches and processes.

    Args:
        outputs: of each batch of this process ``batch_size``, its labelled images, and under each
            name their mean; may be empty.
        names: what to average.
        device: of the results.

    Returns:
        By name; empty where no image of any process has a label.
    """
    kind = torch.float32 if device.type == "mps" else torch.float64
    sums = torch.zeros(len(names) + 1, dtype=kind, device=device)
    for out in outputs:
        row = [torch.as_tensor(v, device=device).reshape(()) for v in (*map(out.get, names), 1)]
        sums += torch.stack([value.to(kind) for value in row]) * out["batch_size"]
    over_processes(sums)
    if not sums[-1]:
        return {}
    return dict(zip(names, (sums[:-1] / sums[-1]).to(torch.get_default_dtype()), strict=True))
