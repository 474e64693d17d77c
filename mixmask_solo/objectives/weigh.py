# SPDX-License-Identifier: MIT
"""What all losses here share: full precision, and their sum weighed by a branch's sources."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class Share(NamedTuple):
    """What each image of a branch shows, and how much of it."""

    # (N,) int64, an image of the batch; None for image i itself
    index: Tensor | None  # type: ignore[assignment]  # which a tuple has as a method
    weight: Tensor  # (N,), its share


def weigh(
    pair_loss: Callable[..., Tensor],
    pred: Tensor,
    target: Tensor | tuple[Tensor, ...],
    sources: Sequence[Share],
) -> Tensor:
    r"""``mean_i Σ_s weight_s,i · pair_loss(pred_i, target_index_s(i))``, a scalar.

    With the two sources of a mixture, (i, λ) and (partner, 1 − λ), this is MixMask's Eq. 6. The
    published form re-orders the mixed queries by the inverse permutation instead, the same mean.

    Args:
        pair_loss: called with ``pred`` and the re-ordered targets; ``(N,)``, or a scalar for a loss
            of whole batches.
        pred: ``(N, ...)``, of the branch's images.
        target: ``(N, ...)``, or several tensors whose rows belong together.
    """
    rows = target if isinstance(target, tuple) else (target,)
    terms = [
        weight * pair_loss(pred, *(x if index is None else x[index] for x in rows))
        for index, weight in sources
    ]
    return torch.stack(terms).sum(0).mean()


def upcast(x: Tensor) -> Tensor:
    """Half precision as float32; float32, float64 and integers as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def full_precision(fn: F) -> F:
    """Runs ``fn`` outside of autocast, with its half-precision tensors as float32.

    A softmax over 65,537 logits loses all but its first digits in bfloat16. The first positional
    argument has to be a tensor; it tells the device.
    """

    @wraps(fn)
    def inner(x: Tensor, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(x.device.type, enabled=False):
            rest = [upcast(a) if isinstance(a, Tensor) else a for a in args]
            return fn(upcast(x), *rest, **kwargs)

    return inner  # type: ignore[return-value]
