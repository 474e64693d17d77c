# SPDX-License-Identifier: MIT
"""Projectors and predictors, and the statistic that shows their collapse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmask_solo.objectives import upcast

__all__ = ["mlp", "z_std"]


def mlp(in_dim: int, hidden_dim: int, out_dim: int, *, norm: bool = False) -> nn.Sequential:
    """Linear, BatchNorm if ``norm``, ReLU, Linear; indexes as in solo-learn's state_dict."""
    middle = [nn.BatchNorm1d(hidden_dim)] if norm else []
    return nn.Sequential(
        nn.Linear(in_dim, hidden_dim), *middle, nn.ReLU(), nn.Linear(hidden_dim, out_dim)
    )


@torch.no_grad()
def z_std(z: Sequence[Tensor]) -> Tensor:
    """Mean standard deviation over the batch of unit-length projections, each ``(N, D)``.

    About ``1/sqrt(D)`` for spread projections, 0 for collapsed ones.
    """
    unit = F.normalize(upcast(torch.stack(list(z))), dim=-1)
    return unit.std(dim=1).mean()
