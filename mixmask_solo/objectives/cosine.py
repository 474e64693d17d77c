# SPDX-License-Identifier: MIT
"""The pair losses of BYOL and SimSiam: a prediction against a target without gradient."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.objectives.precision import full_precision

__all__ = ["byol", "simsiam"]


@full_precision
def byol(p: Tensor, z: Tensor) -> Tensor:
    """``2 - 2·cos(p, z)``, the squared distance of the unit vectors.

    Args:
        p: ``(N, D)`` predictions, any length.
        z: ``(N, D)`` targets, any length; no gradient flows into them.

    Returns:
        ``(N,)`` within [0, 4].
    """
    return 2.0 - 2.0 * F.cosine_similarity(p, z.detach(), dim=1)


@full_precision
def simsiam(p: Tensor, z: Tensor) -> Tensor:
    """``-cos(p, z)``.

    Args:
        p: ``(N, D)`` predictions, any length.
        z: ``(N, D)`` targets, any length; no gradient flows into them.

    Returns:
        ``(N,)`` within [-1, 1].
    """
    return -F.cosine_similarity(p, z.detach(), dim=1)
