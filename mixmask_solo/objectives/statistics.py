# SPDX-License-Identifier: MIT
"""Losses on a batch's statistics: Barlow Twins' cross-correlation, VICReg's three terms.

Means of pair losses they are not, hence scalars here; VICReg's invariance alone is one. No order of
the rows changes variance and covariance.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.distributed import gather, mean_over_ranks
from mixmask_solo.objectives.precision import full_precision


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
