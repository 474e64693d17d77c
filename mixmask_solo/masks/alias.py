# SPDX-License-Identifier: MIT
"""Walker's alias method: draws from a fixed discrete distribution with one look-up each."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alias_table"]


def alias_table(probabilities: Tensor) -> tuple[Tensor, Tensor]:
    """Splits a distribution over K outcomes into K equal slots of at most two outcomes.

    Draw a slot k and a fraction u, both uniform: the outcome is k where u < threshold[k], else
    alias[k]. Built without a loop: in order, light slots (below 1/K) are filled up from the heavy
    ones, and cumulative sums tell which heavy one has anything left.

    Args:
        probabilities: ``(K,)`` float64, sums to 1.

    Returns:
        threshold ``(K,)`` float64 in [0, 1] and alias ``(K,)`` int64.
    """
    scaled = probabilities * len(probabilities)
    threshold, alias = torch.ones_like(scaled), torch.arange(len(scaled))
    light, heavy = (scaled < 1).nonzero()[:, 0], (scaled >= 1).nonzero()[:, 0]
    if len(light) == 0:
        return threshold, alias
    lack = 1 - scaled[light]
    lacking = lack.cumsum(0)
    spare = (scaled[heavy] - 1).cumsum(0)
    giver = torch.searchsorted(spare, lacking - lack, right=True).clamp_(max=len(heavy) - 1)
    threshold[light], alias[light] = scaled[light], heavy[giver]
    # A heavy slot gives more than it has to the light one that empties it; the next repays it.
    emptied_by = torch.searchsorted(lacking, spare[:-1]).clamp_(max=len(light) - 1)
    debt = (lacking[emptied_by] - spare[:-1]).clamp_(0, 1)  # rounding may leave the interval
    threshold[heavy[:-1]], alias[heavy[:-1]] = 1 - debt, heavy[1:]
    return threshold, alias
