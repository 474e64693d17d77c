# SPDX-License-Identifier: MIT
"""Projectors and predictors, and the statistic that shows their collapse."""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmask_solo.objectives import upcast


def mlp(*widths: int, norm: bool = False, bias: bool = True) -> nn.Sequential:
    """Linear, BatchNorm if ``norm`` and ReLU for each hidden width, then a Linear with a bias.

    Indexes are those of solo-learn's state_dict.
    """
    layers: list[nn.Module] = []
    for width, hidden in pairwise(widths[:-1]):
        layers.append(nn.Linear(width, hidden, bias=bias))
        layers += [nn.BatchNorm1d(hidden), nn.ReLU()] if norm else [nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


@torch.no_grad()
def z_std(z: Sequence[Tensor]) -> Tensor:
    """Mean standard deviation over the batch of unit-length projections, each ``(N, D)``.

    About ``1/sqrt(D)`` for spread projections, 0 for collapsed ones.
    """
    unit = F.normalize(upcast(torch.stack(list(z))), dim=-1)
    return unit.std(dim=1).mean()
