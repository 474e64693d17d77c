# SPDX-License-Identifier: MIT
r"""Pair losses ``(N,)`` of a prediction against a target that gets no gradient.

BYOL's and SimSiam's cosines, SwAV's and DINO's cross entropy of distributions, and ReSSL's: there
the query's similarities to a queue follow the key's. With :math:`P_j = \operatorname{softmax}(Q k_j
/ T_k)` over the queue's rows Q, it is :math:`-\sum_n P_{jn} \log\operatorname{softmax}(Q q_i /
T_q)_n = \operatorname{lse}(Q q_i / T_q) - \langle q_i, P_j Q\rangle / T_q`: the target enters only
through the queue's mean under it, one vector, so that all sources share one pass over the queue.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.precision import full_precision


@full_precision
def byol(p: Tensor, z: Tensor) -> Tensor:
    """``2 - 2·cos(p, z)`` of ``p (N, D)`` and ``z (N, D)``, any lengths; within [0, 4]."""
    return 2.0 - 2.0 * F.cosine_similarity(p, z.detach(), dim=1)


@full_precision
def simsiam(p: Tensor, z: Tensor) -> Tensor:
    """``-cos(p, z)`` of ``p (N, D)`` and ``z (N, D)``, any lengths; within [-1, 1]."""
    return -F.cosine_similarity(p, z.detach(), dim=1)


@full_precision
def log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """``(N, K)`` log-softmax of ``logits (N, K)`` over ``temperature``."""
    return torch.log_softmax(logits / temperature, dim=1)


@full_precision
def cross_entropy(log_p: Tensor, target: Tensor) -> Tensor:
    """``-sum_k target_k · log_p_k`` of ``(N, K)`` each; rows of the target sum to 1."""
    return -(target.detach() * log_p).sum(1)


@full_precision
@torch.no_grad()
def sharpened(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    """DINO's teacher: softmax of ``logits (N, K)`` less ``center (1, K)``; a low T sharpens."""
    return torch.softmax((logits - center) / temperature, dim=1)


@full_precision
@torch.no_grad()
def relation_target(key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """``(N, D)``, the queue's mean under the relation of ``key (N, D)`` to ``queue (K, D)``.

    Both of unit rows; the queue may be overwritten at once.
    """
    queue = queue.to(key.dtype)
    return torch.softmax(key @ queue.T / temperature, dim=1) @ queue


@full_precision
def relation_from_lse(query: Tensor, target: Tensor, lse: Tensor, temperature: float) -> Tensor:
    """Cross entropy of the relation of ``query (N, D)``, unit rows, and the key's.

    ``target`` is of :func:`relation_target`, ``lse (N,)`` of ``queue_lse`` for the same queries,
    queue and temperature.
    """
    return lse - (query * target.detach()).sum(1) / temperature
