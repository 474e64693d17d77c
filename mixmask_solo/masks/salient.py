# SPDX-License-Identifier: MIT
"""Which cells of an image show its foreground, by a network's saliency map."""

import torch
from torch import Tensor


def salient(maps: Tensor, below: float = 0.6) -> Tensor:
    """Cells at or above their map's mean, or below it by at most ``below`` deviations.

    The public code sorts each row of a map before it asks, so that a row's foreground lies at its
    right end; here a cell is judged by its own value. In float64: then the mean of equal values
    is their value, and a map without any contrast is all foreground.

    Args:
        maps: ``(N, h, w)``.
        below: in standard deviations of the map (population).

    Returns:
        ``(N, h, w)`` bool, True = foreground; at least one cell of each map.

    Source: Chin et al., saliency-guided masking; 0.6 is its code's.
    """
    values = maps.to(torch.float64)
    mean = values.mean((1, 2), keepdim=True)
    return values >= mean - below * values.std((1, 2), correction=0, keepdim=True)
