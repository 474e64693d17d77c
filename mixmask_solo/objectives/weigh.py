# SPDX-License-Identifier: MIT
"""A branch's images and their sources: the weighted sum of pair losses, the heart of them all."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Share(NamedTuple):
    """What each image of a branch shows, and how much of it.

    Attributes:
        index: ``(N,)`` int64, an image of the batch; None for image i itself.
        weight: ``(N,)``, its share.
    """

    index: Tensor | None  # type: ignore[assignment]  # which a tuple has as a method
    weight: Tensor


def weigh(
    pair_loss: Callable[..., Tensor],
    pred: Tensor,
    target: Tensor | tuple[Tensor, ...],
    sources: Sequence[Share],
) -> Tensor:
    r"""``mean_i Σ_s weight_s,i · pair_loss(pred_i, target_index_s(i))``.

    With the two sources of a mixture, (i, λ) and (partner, 1 − λ), this is MixMask's Eq. 6. The
    published form re-orders the mixed queries by the inverse permutation instead, the same mean.

    Args:
        pair_loss: called with ``pred`` and the re-ordered targets; ``(N,)``, or a scalar for a loss
            of whole batches.
        pred: ``(N, ...)``, of the branch's images.
        target: ``(N, ...)``, or several tensors whose rows belong together.
        sources: of the branch's images.

    Returns:
        Scalar.
    """
    rows = target if isinstance(target, tuple) else (target,)
    terms = [
        weight * pair_loss(pred, *(x if index is None else x[index] for x in rows))
        for index, weight in sources
    ]
    return torch.stack(terms).sum(0).mean()
