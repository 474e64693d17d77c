# SPDX-License-Identifier: MIT
r"""MoCo's InfoNCE with a queue of negatives, computed without ever forming all logits.

With :math:`s_i = \langle q_i, k_i\rangle / T` and :math:`r_i = \log\sum_j \exp(\langle q_i,
Q_{:j}\rangle / T)` the cross entropy over the K + 1 logits is :math:`\log(e^{s_i} + e^{r_i}) - s_i
= \operatorname{softplus}(r_i - s_i)`. The queue enters through :math:`r_i` alone, so one query can
be scored against the keys of all its sources for the price of one product.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mixmask_solo.objectives.weigh import full_precision, upcast

# Keys taken at once. On the CPU a chunk of 256-d keys has to survive in the second-level cache
# between the two products that read it; on a GPU few large products win, up to 256 MiB of logits.
_CPU_KEYS = 2048
_GPU_LOGITS = 1 << 26


def info_nce(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Cross entropy of each query over its key (positive) and the queue (negatives).

    Args:
        query: ``(N, D)``, unit rows.
        key: ``(N, D)``, unit rows; receives no gradient.
        queue: ``(D, K)``, one key a column; receives no gradient and may be overwritten at once.
        temperature: T, divides all similarities.

    Returns:
        ``(N,)`` in float32, or float64 for float64 input.
    """
    return info_nce_from_lse(query, key, queue_lse(query, queue, temperature), temperature)


@full_precision
def info_nce_from_lse(query: Tensor, key: Tensor, lse: Tensor, temperature: float) -> Tensor:
    """:func:`info_nce` with the queue's part known: ``lse (N,)`` is :func:`queue_lse`'s result.

    Of the same queries and the same temperature.
    """
    positive = (query * key.detach()).sum(1) / temperature
    return -F.logsigmoid(positive - lse)  # softplus(lse - positive) without softplus' cut-off


@full_precision
def with_hard_negative(
    lse: Tensor, query: Tensor, negative: Tensor, alpha: float, temperature: float
) -> Tensor:
    """``logaddexp(lse, alpha·⟨query, negative⟩ / T)``: one more negative for each query.

    ``lse (N,)`` is that of the other negatives (in-batch losses: of all candidates), computed with
    the same ``temperature``. ``query`` and ``negative``, which receives no gradient, are unit rows
    ``(N, D)``; ``alpha`` is 2 in the saliency paper.
    """
    return torch.logaddexp(lse, alpha * (query * negative.detach()).sum(1) / temperature)


def queue_lse(query: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Log-sum-exp of each query's logits over the queue.

    Args:
        query: ``(N, D)``.
        queue: ``(D, K)``, one key a column.
        temperature: T, divides all similarities.

    Returns:
        ``(N,)`` in float32, or float64 for float64 input.
    """
    [lse] = shared_queue_lse(queue, [query], temperature)
    return lse


@full_precision
def shared_queue_lse(
    queue: Tensor, queries: Sequence[Tensor], temperature: float
) -> Sequence[Tensor]:
    """:func:`queue_lse` of several batches ``(N, D)``, which share one pass over the queue.

    The queue is read in chunks, once: the gradient by the queries is accumulated on the way, so
    the backward pass needs neither the queue nor the ``(N, K)`` logits. A batch whose result
    enters no loss gets no gradient, not zeros that would go back through its whole network.
    """
    queries = [upcast(q) for q in queries]
    want_grad = torch.is_grad_enabled() and any(q.requires_grad for q in queries)
    queue = queue.to(queries[0].dtype)
    lses: Sequence[Tensor] = _QueueLSE.apply(queue, temperature, want_grad, *queries)
    return lses


class _QueueLSE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queue: Tensor, temperature: float, want_grad: bool, *queries: Tensor
    ) -> tuple[Tensor, ...]:
        sizes = [len(q) for q in queries]
        lse, slope = _stream(torch.cat(queries), queue, temperature, want_grad)
        if slope is not None:
            ctx.save_for_backward(*slope.split(sizes))
        ctx.set_materialize_grads(False)
        return lse.split(sizes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        slopes = zip(grads, ctx.saved_tensors, strict=True)
        found = [None if g is None else g.unsqueeze(1) * slope for g, slope in slopes]
        return None, None, None, *found


def _stream(
    query: Tensor, queue: Tensor, temperature: float, want_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """``(N,)`` log-sum-exp and ``(N, D)`` its derivative by the query."""
    n = len(query)
    scaled = query / temperature
    top = query.new_full((n, 1), -torch.inf)
    total = query.new_zeros(n, 1)
    slope = torch.zeros_like(scaled) if want_grad else None
    for keys in queue.split(_keys_at_once(query), dim=1):
        logits = scaled @ keys
        high = torch.maximum(top, logits.amax(1, keepdim=True))
        shrink = (top - high).exp_()  # all that was summed before is relative to the old maximum
        weights = logits.sub_(high).exp_()
        total.mul_(shrink).add_(weights.sum(1, keepdim=True))
        if slope is not None:
            slope.mul_(shrink).addmm_(weights, keys.T)
        top = high
    if slope is not None:
        slope.div_(total * temperature)
    return total.log_().add_(top).squeeze(1), slope


def _keys_at_once(query: Tensor) -> int:
    return _CPU_KEYS if query.device.type == "cpu" else max(1, _GPU_LOGITS // len(query))
