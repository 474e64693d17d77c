# SPDX-License-Identifier: MIT
"""Masks of up to 8×8 cells, each one int64: a block is a look-up, an overlap a bit count."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from mixmask_solo.masks.alias import alias_table
from mixmask_solo.masks.arrays import Array, native, popcount, where
from mixmask_solo.masks.proposal import minimum_area, side_probabilities

__all__ = ["BITBOARD_GRID", "Bitboards"]

BITBOARD_GRID = 8
_BITS = 31  # of randomness per draw; the outcome takes 11 of them, the threshold sees all
_FRACTION = (1 << _BITS) - 1


class _Table(NamedTuple):
    """Alias tables of the blocks (size and place), one row of ``width`` slots per room."""

    width: int
    threshold: Array  # (grid**2 * width,) int64, in units of 2**-31
    own: Array  # (width,) int64 bits of each block; 0 stands for one that spans a side
    alias: Array  # (grid**2 * width,) int64 bits


def _placed_blocks(grid: int) -> tuple[Tensor, Tensor, Tensor]:
    """Height, width and bits of every block that spans no side, in every place, ``(K,)`` each."""
    line = torch.arange(grid)
    start, stop = torch.meshgrid(line, line + 1, indexing="ij")
    fits = (stop > start) & (stop - start < grid)
    start, length = start[fits], (stop - start)[fits]
    cells = (line >= start[:, None]) & (line < (start + length)[:, None])  # (intervals, grid)
    place = 1 << torch.arange(grid * grid).view(grid, grid)
    bits = torch.einsum("ar,bc,rc->ab", cells.long(), cells.long(), place)
    height, width = torch.meshgrid(length, length, indexing="ij")
    return height.flatten(), width.flatten(), bits.flatten()


@lru_cache(maxsize=16)
def _table(grid: int, device: torch.device) -> _Table:
    height, width, bits = _placed_blocks(grid)
    sides = side_probabilities(grid, minimum_area(grid))[1:, height - 1, width - 1]
    placed = sides / ((grid + 1 - height) * (grid + 1 - width))
    bits = torch.cat([torch.zeros(1, dtype=torch.int64), bits])
    threshold = torch.ones(grid * grid, len(bits), dtype=torch.float64)
    alias = bits.repeat(grid * grid, 1)
    for room, row in enumerate(placed, start=1):
        spanning = (1 - row.sum()).clamp(min=0).view(1)
        threshold[room], other = alias_table(torch.cat([spanning, row]))
        alias[room] = bits[other]
    units = (threshold * (1 << _BITS)).round().long()
    own, units, alias = (x.to(device) for x in (bits, units.flatten(), alias.flatten()))
    return _Table(len(bits), native(units), native(own), native(alias))


class Bitboards:
    """A ``Canvas`` of n masks, bit ``row * grid + column`` of one int64 per mask."""

    def __init__(self, n: int, grid: int, device: torch.device) -> None:
        self.grid = grid
        self._device = device
        self._table = _table(grid, device)
        self._tensor = torch.zeros(n, dtype=torch.int64, device=device)
        self._bits = native(self._tensor)

    def propose(
        self, rows: Array, room: Array, generator: torch.Generator | None
    ) -> tuple[Array, Array]:
        """See ``Canvas``; a block is an int64."""
        table = self._table
        shape = (len(rows),)
        draw = native(torch.randint(1 << _BITS, shape, generator=generator, device=self._device))
        draw *= table.width
        slot = draw >> _BITS
        draw &= _FRACTION
        index = room * table.width
        index += slot
        block = where(
            draw < table.threshold.take(index), table.own.take(slot), table.alias.take(index)
        )
        return block, popcount(block & ~self._bits.take(rows))

    def mark(self, rows: Array, block: Array, hit: Array) -> None:
        """See ``Canvas``."""
        self._bits[rows] |= block * hit

    def masks(self) -> Tensor:
        """See ``Canvas``."""
        octets = self._tensor.view(torch.uint8).view(-1, 8, 1)  # lowest bits first
        bits = octets >> torch.arange(8, dtype=torch.uint8, device=self._device)
        cells = (bits & 1).bool().flatten(1)[:, : self.grid**2]
        return cells.reshape(-1, self.grid, self.grid)
