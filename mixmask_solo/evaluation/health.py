# SPDX-License-Identifier: MIT
"""How healthy representations are, without labels: spread, effective rank, alignment, uniformity.

Pure functions of embeddings ``(N, D)``, one row an image, on their device; half precision is
measured in float32. ``verdict`` names a collapse by thresholds, which are a heuristic.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7  # of RankMe, for float32 (Garrido et al., section 3)
LEAST_SPREAD = 0.02  # share of 1/sqrt(D): below it the mean cosine of two rows is above 0.9996
LEAST_RANK = 1.5  # 1 is a single direction
LEAST_SHARE = 0.05  # of the highest rank there can be
COLLAPSED = "collapsed"
DIMENSIONAL = "dimensional collapse"


def embedding_std(z: Tensor) -> Tensor:
    """Standard deviation over the rows of unit length, mean over D (Chen and He, 2021, 4.1).

    Args:
        z: ``(N, D)``, N at least 2, any length.

    Returns a scalar: ``1/sqrt(D)`` for rows spread over the sphere, 0 for equal ones.
    """
    return _unit(z).std(dim=0).mean()


def rankme(z: Tensor, epsilon: float = EPSILON) -> Tensor:
    """Effective rank: exp of the entropy of ``p = sigma / |sigma|_1 + epsilon``.

    Garrido et al., 2023, RankMe, equations 1 and 2: of the rows as they are, neither centred nor of
    unit length.

    Args:
        z: ``(N, D)``, finite. N should be well above D: no rank is higher than the smaller of both.

    Returns a scalar from 1 to ``min(N, D)``, up to what ``epsilon`` adds.
    """
    sigma = torch.linalg.svdvals(_wide(z))
    total = sigma.sum().clamp_min(torch.finfo(sigma.dtype).tiny)  # nothing but zeros has rank 1
    p = sigma / total + epsilon
    return torch.exp(-(p * p.log()).sum())


def alignment(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of positive pairs on the unit sphere (Wang and Isola, 2020, alpha 2).

    Args:
        x: ``(N, D)``, any length.
        y: ``(N, D)``: row i is of another view of the same image.

    Returns a scalar: 0 where the two views of each image are embedded alike, at most 4.
    """
    return (_unit(x) - _unit(y)).square().sum(dim=1).mean()


def uniformity(z: Tensor, t: float = 2.0, rows: int = 1024) -> Tensor:
    """Log of the mean of ``exp(-t * d^2)`` over all pairs of rows, d their distance at unit length.

    Wang and Isola, 2020. All pairs are taken, ``rows`` against the rest at once, so that the memory
    is that of ``rows * N`` numbers.

    Args:
        z: ``(N, D)``, N at least 2, any length.

    Returns a scalar: 0 for equal rows; about ``-2 t``, not below ``-2 t N / (N - 1)``, for rows
    spread evenly.
    """
    unit = _unit(z)
    n = len(unit)
    total = torch.zeros((), dtype=torch.float64, device=z.device)
    for start in range(0, n, rows):
        cosines = unit[start : start + rows] @ unit[start:].T
        near = (-2.0 * t * (1.0 - cosines).clamp_min(0.0)).exp()
        total += near.triu(diagonal=1).sum(dtype=torch.float64)  # each pair once
    return (total / (n * (n - 1) / 2)).log().to(unit.dtype)


def verdict(std: float, rank: float | None, images: int, dimension: int) -> str:
    """``collapsed``, ``dimensional collapse`` or nothing: a heuristic, by fixed thresholds.

    Args:
        std: of :func:`embedding_std`.
        rank: of :func:`rankme`; None where it was not measured.
        images: of which ``rank`` was measured.
        dimension: D.

    *Collapsed*: all images give nearly the same direction (``LEAST_SPREAD``), or all lie on one
    line (``LEAST_RANK``), on which opposite directions have the full spread. *Dimensional
    collapse*: the rank is below ``LEAST_SHARE`` of the highest possible one.
    """
    if std * math.sqrt(dimension) < LEAST_SPREAD or (rank is not None and rank < LEAST_RANK):
        return COLLAPSED
    if rank is not None and rank < LEAST_SHARE * min(images, dimension):
        return DIMENSIONAL
    return ""


def _wide(z: Tensor) -> Tensor:
    return z if z.dtype == torch.float64 else z.float()


def _unit(z: Tensor) -> Tensor:
    return F.normalize(_wide(z), dim=1)
