# SPDX-License-Identifier: MIT
"""Blocked keep-masks: rectangles dropped on a grid until the wanted share is covered."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.masks.arrays import Array, indices, native, where
from mixmask_solo.masks.bitboard import BITBOARD_GRID, Bitboards
from mixmask_solo.masks.bitrows import Bitrows
from mixmask_solo.masks.canvas import Canvas
from mixmask_solo.masks.proposal import ATTEMPTS
from mixmask_solo.masks.ratio import check_ratio, resolve_device, target_cells

__all__ = ["blocked"]

_CELLS_AT_ONCE = 1 << 20  # keeps what one round touches near the cache, and memory bounded


def blocked(
    n: int,
    grid: int,
    ratio: float | Tensor = 0.5,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws n masks as the published MixMask code does, for all n at once.

    Blocks are proposed one after another (see ``proposal``) and kept where they fit: no full
    side, at least one new cell, never more cells than asked for. Ten misses in a row leave a mask
    as it is, so it may fall short (at grid 8 and ratio 0.5: 4.4 % of the masks, by 1.04 cells on
    average). Blocks lie inside the grid, so centre cells are kept far more often than corners.

    On grids below 4 the published generator is of no use (94 % of its 2×2 masks are empty); here
    the minimum area is 1 instead of 4 there, and an empty mask is drawn again. From grid 4 on the
    distribution is the published one, including an empty mask once in a while (0.03 % at grid 4
    and ratio 0.5, none seen from grid 8 on).

    Args:
        n: number of masks, independent of each other.
        grid: cells per side, at least 2.
        ratio: own share asked for; ``floor(ratio * grid**2)`` cells are the most a mask gets. A
            tensor ``(n,)`` gives each mask its own; less than a cell is an empty mask, as
            published (on grids below 4 it is one cell).
        generator: source of randomness on the masks' device; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n, grid, grid)`` bool, True = own pixel stays.

    Raises:
        ValueError: for n, grid or ratio out of range, or a number that keeps no or all cells.
    """
    check_ratio(n, grid, ratio)
    where_to = resolve_device(device, generator)
    target = target_cells(n, grid, ratio, where_to)
    parts = []
    for part in target.split(max(1, _CELLS_AT_ONCE // grid**2)):
        canvas_type = Bitboards if grid <= BITBOARD_GRID else Bitrows
        canvas: Canvas = canvas_type(len(part), grid, where_to)
        rows = native(torch.arange(len(part), device=where_to))
        _fill(canvas, rows, native(part), generator, redraw_empty=grid < 4)
        parts.append(canvas.masks())
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def _fill(
    canvas: Canvas,
    rows: Array,
    target: Array,
    generator: torch.Generator | None,
    *,
    redraw_empty: bool,
) -> None:
    """Lets every mask try one block a round; masks that are done drop out.

    Args:
        canvas: n empty masks.
        rows: ``(n,)`` 0 .. n-1.
        target: ``(n,)`` cells wanted in each.
        generator: source of randomness.
        redraw_empty: never leave a mask without a block.
    """
    room = target + 0
    tries = target * 0 + ATTEMPTS
    while len(rows) > 0:
        block, new = canvas.propose(rows, room, generator)
        hit = (new > 0) & (new <= room)
        canvas.mark(rows, block, hit)
        room -= new * hit
        tries = where(hit, ATTEMPTS, tries - 1)
        going = (room > 0) & (tries > 0)
        if redraw_empty:  # ten more tries on an empty grid are the same as a new mask
            going |= room == target
        keep = indices(going)
        rows, room, tries, target = (x.take(keep) for x in (rows, room, tries, target))
