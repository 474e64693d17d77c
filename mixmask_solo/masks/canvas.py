# SPDX-License-Identifier: MIT
"""What the blocked generator needs from a batch of unfinished masks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from mixmask_solo.masks.arrays import Array

__all__ = ["Canvas"]


class Canvas(Protocol):
    """A batch of n masks, all cells 0 at first, in a representation of its own."""

    def propose(
        self, rows: Array, room: Array, generator: torch.Generator | None
    ) -> tuple[Array, Array]:
        """One block for each mask in ``rows``.

        Args:
            rows: ``(m,)`` indices of masks.
            room: ``(m,)`` cells each of them still misses.
            generator: source of randomness.

        Returns:
            The blocks, first axis m, and ``(m,)`` cells each would newly mark, 0 if not allowed.
        """

    def mark(self, rows: Array, block: Array, hit: Array) -> None:
        """Sets the cells of ``block`` in each mask of ``rows`` where ``hit`` ``(m,)`` is true."""

    def masks(self) -> Tensor:
        """``(n, grid, grid)`` bool."""
