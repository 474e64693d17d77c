# SPDX-License-Identifier: MIT
r"""Losses without negatives: of a prediction against its target, and of a batch's statistics.

**Predictions**, pair losses ``(N,)`` against a target that gets no gradient: BYOL's and SimSiam's
cosines, SwAV's and DINO's cross entropy of distributions, and ReSSL's: there the query's
similarities to a queue follow the key's. With :math:`P_j = \operatorname{softmax}(Q k_j / T_k)`
over the queue's rows Q, it is :math:`-\sum_n P_{jn} \log\operatorname{softmax}(Q q_i / T_q)_n =
\operatorname{lse}(Q q_i / T_q) - \langle q_i, P_j Q\rangle / T_q`: the target enters only through
the queue's mean under it, one vector, so that all sources share one pass over the queue.

**Statistics**, scalars: Barlow Twins' cross-correlation, VICReg's variance and covariance, which no
order of the rows changes; its invariance is a pair loss.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.distributed import gather, mean_over_ranks
from mixmask_solo.objectives.weigh import full_precision


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


@full_precision
def barlow_twins(u: Tensor, v: Tensor, lamb: float, scale: float) -> Tensor:
    """Squared distance of the cross-correlation matrix from the identity.

    Args:
        u: ``(N, D)`` projections of one view; row i belongs to row i of ``v``.
        v: ``(N, D)`` projections of the other.
        lamb: weight of the off-diagonal entries.
        scale: factor of the whole.

    Returns:
        Scalar; correlations averaged over all processes, each standardised within its own.
    """
    u, v = (F.batch_norm(x, None, None, training=True) for x in (u, v))
    squares = mean_over_ranks(u.T @ v / len(u)).sub(torch.eye(u.shape[1], device=u.device))
    squares = squares.square()
    diagonal = squares.diagonal().sum()
    return scale * (diagonal + lamb * (squares.sum() - diagonal))


@full_precision
def invariance(u: Tensor, v: Tensor) -> Tensor:
    """``(N,)`` mean squared difference of ``u (N, D)`` and ``v (N, D)`` row by row."""
    return (u - v).square().mean(1)


@full_precision
def variance(z: Tensor) -> Tensor:
    """Mean hinge of each dimension's standard deviation below 1, of all processes' ``z (N, D)``."""
    return F.relu(1.0 - (gather(z).var(0) + 1e-4).sqrt()).mean()


@full_precision
def covariance(z: Tensor) -> Tensor:
    """Sum of the squared off-diagonal covariances over D, of all processes' ``z (N, D)``."""
    z = gather(z)
    z = z - z.mean(0)
    squares = (z.T @ z / (len(z) - 1)).square()
    return (squares.sum() - squares.diagonal().sum()) / z.shape[1]
