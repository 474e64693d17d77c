# SPDX-License-Identifier: MIT
"""The size of a proposed block, as the published generator draws it.

Area uniform between a minimum and the number of cells still missing, aspect ratio log-uniform in
[0.3, 1/0.3], sides rounded half to even. Blocks that would span a full side of the grid are
proposed too and always dropped. Where fewer cells are missing than the minimum area, the two
bounds change places (the published code's uniform draw does that), so that many proposals are
too large and are dropped.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["ATTEMPTS", "draw_sides", "minimum_area", "side_probabilities"]

ATTEMPTS = 10  # proposals in a row that may fail before a mask is left as it is
_LOG_ASPECT = -math.log(0.3)
_QUADRATURE = 256


def minimum_area(grid: int) -> int:
    """4 as published; 1 on grids below 4, where 4 leaves 94 % of the 2×2 masks empty."""
    return 4 if grid >= 4 else 1


def draw_sides(room: Tensor, low: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """One proposal per mask.

    Args:
        room: ``(n,)`` int64, cells each mask still misses.
        low: minimum area.
        generator: source of randomness, on the device of ``room``.

    Returns:
        Heights and widths, ``(n,)`` int64 each, at least 1 and not limited to the grid.
    """
    u = torch.rand(2, len(room), generator=generator, device=room.device, dtype=torch.float64)
    area = low + (room - low) * u[0]
    aspect = ((2 * u[1] - 1) * _LOG_ASPECT).exp_()
    return (area * aspect).sqrt().round_().long(), (area / aspect).sqrt().round_().long()


def side_probabilities(grid: int, low: int) -> Tensor:
    """The distribution behind ``draw_sides``, for blocks that do not span a side.

    For a fixed area, sides (h, w) stand for an interval of log-aspects; its share of the whole
    range is averaged over the areas with the midpoint rule (error below 2e-5 up to grid 8).

    Returns:
        ``(grid**2, grid - 1, grid - 1)`` float64: room, height - 1, width - 1 -> probability;
        rows sum to less than 1 by the share of blocks that span a side. Row 0 is not used.
    """
    room = torch.arange(grid * grid, dtype=torch.float64).view(-1, 1, 1, 1)
    middle = (torch.arange(_QUADRATURE, dtype=torch.float64) + 0.5) / _QUADRATURE
    log_area = (low + (room - low) * middle).log()
    side = torch.arange(1, grid, dtype=torch.float64)
    below, above = 2 * (side - 0.5).log(), 2 * (side + 0.5).log()
    h, w = (slice(None), None, None), (slice(None), None)
    start = torch.maximum(below[h] - log_area, log_area - above[w]).clamp(min=-_LOG_ASPECT)
    stop = torch.minimum(above[h] - log_area, log_area - below[w]).clamp(max=_LOG_ASPECT)
    return ((stop - start).clamp(min=0) / (2 * _LOG_ASPECT)).mean(-1)
