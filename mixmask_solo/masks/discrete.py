# SPDX-License-Identifier: MIT
"""Discrete keep-masks: every cell for itself."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.masks.ratio import check_ratio, resolve_device

__all__ = ["discrete"]


def discrete(
    n: int,
    grid: int,
    ratio: float | Tensor = 0.5,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws n masks of independent cells, each kept with probability ``ratio``.

    Masks that keep no or all cells are drawn again, as in the published code; on tiny grids this
    moves the mean share towards 0.5 (grid 2, ratio 0.25: 0.362). The published code draws 1 with
    probability 1 - ``ratio`` instead, opposite to its blocked masks; here ``ratio`` is the own
    share in both.

    Args:
        n: number of masks, independent of each other.
        grid: cells per side, at least 2.
        ratio: own share asked for, a number or one per mask ``(n,)``; used within
            1/cells .. 1 - 1/cells, so that a mask has a fair chance not to be drawn again.
        generator: source of randomness on the masks' device; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n, grid, grid)`` bool, True = own pixel stays.

    Raises:
        ValueError: for n, grid or ratio out of range, or a number that keeps no or all cells.
    """
    check_ratio(n, grid, ratio)
    where_to = resolve_device(device, generator)
    cells = grid * grid
    share = torch.as_tensor(ratio, dtype=torch.float32, device=where_to).expand(n)
    share = share.clamp(1 / cells, 1 - 1 / cells)[:, None]
    mask = torch.empty(n, cells, dtype=torch.bool, device=where_to)
    rows = torch.arange(n, device=where_to)
    while len(rows) > 0:  # at most 0.37 of them fail a round, whatever the ratio
        draw = torch.rand(len(rows), cells, generator=generator, device=where_to)
        drawn = draw < share[rows]
        mask[rows] = drawn
        rows = rows[drawn.all(1) | ~drawn.any(1)]
    return mask.view(n, grid, grid)
