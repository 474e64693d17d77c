# SPDX-License-Identifier: MIT
"""Masks of any grid, each row of cells a few int64: the general canvas."""

from __future__ import annotations

import torch
from torch import Tensor

from mixmask_solo.masks.arrays import Array, native, popcount
from mixmask_solo.masks.proposal import draw_sides, minimum_area

__all__ = ["Bitrows"]

_WORD = 62  # cells per int64, so that 1 << _WORD is still positive


class Bitrows:
    """A ``Canvas`` of n masks, ``(n, grid, words)`` int64 with 62 columns per word.

    The table of ``Bitboards`` would have some grid**6 / 4 entries here, so sizes and places of
    blocks are computed instead.
    """

    def __init__(self, n: int, grid: int, device: torch.device) -> None:
        self.grid = grid
        self._device = device
        words = -(-grid // _WORD)
        self._tensor = torch.zeros(n, grid, words, dtype=torch.int64, device=device)
        self._bits = native(self._tensor)
        self._line = native(torch.arange(grid, device=device))
        self._first = native(torch.arange(words, device=device) * _WORD)

    def propose(
        self, rows: Array, room: Array, generator: torch.Generator | None
    ) -> tuple[Array, Array]:
        """See ``Canvas``; a block is ``(grid, words)`` int64."""
        low = minimum_area(self.grid)
        height, width = draw_sides(torch.as_tensor(room), low, generator)
        place = torch.rand(2, len(rows), generator=generator, device=self._device)
        top = native((place[0] * (self.grid + 1 - height)).long())[:, None]
        left = native((place[1] * (self.grid + 1 - width)).long())[:, None]
        height, width = native(height)[:, None], native(width)[:, None]
        inside = (self._line >= top) & (self._line < top + height)
        block = inside[:, :, None] * self._columns(left, left + width)[:, None, :]
        counts = torch.as_tensor(popcount(block & ~self._bits[rows]))
        allowed = (height < self.grid) & (width < self.grid)
        return block, native(counts.sum((1, 2))) * allowed[:, 0]  # torch sums bytes into int64

    def _columns(self, start: Array, stop: Array) -> Array:
        """``(m, words)`` int64 with the bits of columns ``start .. stop - 1``, each ``(m, 1)``."""
        begin = (start - self._first).clip(0, _WORD)
        end = (stop - self._first).clip(0, _WORD)
        return (1 << end) - (1 << begin)

    def mark(self, rows: Array, block: Array, hit: Array) -> None:
        """See ``Canvas``."""
        self._bits[rows] |= block * hit[:, None, None]

    def masks(self) -> Tensor:
        """See ``Canvas``."""
        bits = self._tensor[:, :, :, None] >> torch.arange(_WORD, device=self._device)
        return (bits & 1).bool().flatten(2)[:, :, : self.grid].contiguous()
