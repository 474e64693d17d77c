# SPDX-License-Identifier: MIT
r"""ReSSL: the query's similarities to a queue follow the key's.

With :math:`P_j = \operatorname{softmax}(Q k_j / T_k)` over the queue's rows Q, the cross entropy is
:math:`-\sum_n P_{jn} \log\operatorname{softmax}(Q q_i / T_q)_n = \operatorname{lse}(Q q_i / T_q) -
\langle q_i, P_j Q\rangle / T_q`: the target enters only through the queue's mean under it, one
vector, so that a mixture is scored against two keys for the price of one pass over the queue.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.objectives.precision import full_precision

__all__ = ["relation_from_lse", "relation_target"]


@full_precision
@torch.no_grad()
def relation_target(key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """The queue's mean under the key's relation, without gradient.

    Args:
        key: ``(N, D)``, unit rows.
        queue: ``(K, D)``, unit rows; may be overwritten at once.
        temperature: T of the key.

    Returns:
        ``(N, D)``.
    """
    queue = queue.to(key.dtype)
    return torch.softmax(key @ queue.T / temperature, dim=1) @ queue


@full_precision
def relation_from_lse(query: Tensor, target: Tensor, lse: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the query's relation and the key's.

    Args:
        query: ``(N, D)``, unit rows.
        target: ``(N, D)`` from :func:`relation_target`.
        lse: ``(N,)`` from ``queue_lse`` of the same queries, queue and temperature.
        temperature: T of the query.

    Returns:
        ``(N,)``.
    """
    return lse - (query * target.detach()).sum(1) / temperature
