# SPDX-License-Identifier: MIT
"""Blocked keep-masks: rectangles dropped on a grid until the wanted share is covered."""

import math

import torch
from torch import Tensor

from mixmask_solo.masks.grid import check_ratio, resolve_device

_ATTEMPTS = 10  # proposals in a row that may fail before a mask is left as it is
_UNSEEN = 64  # rounds in which all masks take part on a GPU: as a rule the last is done in the 40th
_LOG_ASPECT = -math.log(0.3)


def blocked(
    n: int,
    grid: int,
    ratio: float | Tensor = 0.5,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draws n masks as the published MixMask code does, for all n at once.

    Blocks are proposed one after another and kept where they fit: no full side, at least one new
    cell, never more cells than asked for. Ten misses in a row leave a mask as it is, so it may
    fall short (at grid 8 and ratio 0.5: 4.4 % of the masks, by 1.04 cells on average). Blocks lie
    inside the grid, so centre cells are kept far more often than corners.

    On grids below 4 the published generator is of no use (94 % of its 2×2 masks are empty); here
    the minimum area is 1 instead of 4 there, and an empty mask is drawn again. From grid 4 on the
    distribution is the published one, including an empty mask once in a while (0.03 % at grid 4
    and ratio 0.5, none seen from grid 8 on).

    On a GPU it waits for the device once as a rule: draw many at once (``MaskPool``).

    Args:
        n: number of masks, independent of each other.
        grid: cells per side, at least 2.
        ratio: own share asked for, a number or one per mask ``(n,)``; here
            ``floor(ratio * grid**2)`` cells are the most a mask gets.
        generator: source of randomness on the masks' device; torch's default where None.
        device: of the result; the generator's where None, else the CPU.

    Returns:
        ``(n, grid, grid)`` bool, True = own pixel stays.

    Raises:
        ValueError: for n, grid or ratio out of range, or a number that keeps no or all cells.
    """
    check_ratio(n, grid, ratio)
    where_to = resolve_device(device, generator)
    target = _target_cells(n, grid, ratio, where_to)
    mask = torch.zeros(n, grid, grid, dtype=torch.bool, device=where_to)
    rows = torch.arange(n, device=where_to)  # of the masks that are looked at
    going = torch.ones_like(rows, dtype=torch.bool)  # those that are not done
    room, tries = target, torch.full_like(target, _ATTEMPTS)
    unseen = _UNSEEN if where_to.type == "cuda" else 1  # to see who is done is to wait
    while True:  # every mask tries one block a round
        block = _propose(room, grid, generator)
        old = mask[rows]
        new = (block & ~old).sum((1, 2))
        hit = going & (new > 0) & (new <= room)
        mask[rows] = old | (block & hit[:, None, None])
        room = room - new * hit
        tries = torch.where(hit, _ATTEMPTS, tries - 1)
        going = (room > 0) & (tries > 0)
        if grid < 4:  # ten more tries on an empty grid are the same as a new mask
            going |= room == target
        unseen -= 1
        if unseen > 0:
            continue
        left = going.nonzero()[:, 0]
        if len(left) == 0:
            return mask
        rows, room, tries, target, going = (x[left] for x in (rows, room, tries, target, going))


def _propose(room: Tensor, grid: int, generator: torch.Generator | None) -> Tensor:
    """``(m, grid, grid)`` bool: one block for each mask that misses ``room`` ``(m,)`` cells.

    Area uniform between a minimum and ``room``, which the published code's draw swaps where
    ``room`` is less; aspect ratio log-uniform in [0.3, 1/0.3]; sides rounded half to even. A block
    that spans a full side is proposed like any other, but empty here, since it is always dropped.
    """
    low = 4 if grid >= 4 else 1
    u = torch.rand(4, len(room), generator=generator, device=room.device)
    area, aspect = low + (room - low) * u[0], ((2 * u[1] - 1) * _LOG_ASPECT).exp()
    sides = torch.stack([area * aspect, area / aspect]).sqrt().round()  # height and width, (2, m)
    start = (u[2:] * (grid + 1 - sides)).floor()
    stop = start + sides * (sides < grid).all(0)
    line = torch.arange(grid, device=room.device)
    inside = (line >= start[:, :, None]) & (line < stop[:, :, None])  # (2, m, grid)
    return inside[0, :, :, None] & inside[1, :, None, :]


def _target_cells(n: int, grid: int, ratio: float | Tensor, device: torch.device) -> Tensor:
    """``(n,)`` int64: ``floor(ratio * grid**2)`` cells per mask.

    Ratios per mask are random draws as a rule, so none is refused: less than a cell is none, as
    published (on grids below 4, whose masks are ours, it is one cell); all cells are all but one.
    """
    cells = grid * grid
    if isinstance(ratio, Tensor):
        wanted = (ratio.to(device=device, dtype=torch.float64) * cells).floor().long()
        return wanted.clamp_(0 if grid >= 4 else 1, cells - 1)
    return torch.full((n,), math.floor(ratio * cells), device=device)
