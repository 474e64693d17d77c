# SPDX-License-Identifier: MIT
"""An epoch's order for images that storage hands out in blocks, more of them than memory holds.

Each process, and within it each of a few lanes of batches, gets blocks of its own, so that no
process reads them all. A lane reads its blocks in random order, and shuffles the images of as many
as its share of the memory holds at once.
"""

from typing import NamedTuple

import torch
from torch import Tensor

# Worker w of W makes the batches w, w + W, ...: with 2 or 4 workers each reads lanes of its own.
_LANES = 4
_AT_ONCE = 4  # blocks, at least, that a lane shuffles together


class Blocks(NamedTuple):
    """Which images are read together."""

    of: Tensor  # (N,) int64, the number of each image's block
    weights: list[int]  # bytes of each block
    room: int  # bytes of the blocks that a process shuffles together

    @property
    def lanes(self) -> int:
        """Into how many lanes a process deals its batches in turn: 4, 2 or 1.

        Of three lanes, two or four workers would each read all.
        """
        fit = max(1, min(_LANES, self.room // (_AT_ONCE * max(1, *self.weights))))
        return 1 << (fit.bit_length() - 1)

    def order(self, generator: torch.Generator, world: int = 1, batch_size: int = 1) -> Tensor:
        """A random order of all images, (N,) int64, for ``world`` processes.

        Batch after batch, in each the processes' parts of ``batch_size`` one after the other; the
        images that fill no batch stand at the end.
        """
        at_once = batch_size * world
        batches = len(self.of) // at_once
        lanes = min(self.lanes, batches) or 1
        place = torch.randperm(len(self.weights), generator=generator).argsort()
        rows = torch.argsort(place[self.of], stable=True)  # block after block
        lengths = [
            len(range(lane, batches, lanes)) * batch_size
            for _ in range(world)
            for lane in range(lanes)
        ]
        lengths[-1] += len(rows) - sum(lengths)
        shuffled = [
            torch.cat([w[torch.randperm(len(w), generator=generator)] for w in windows])
            for windows in (self._windows(lane, lanes) for lane in rows.split(lengths))
        ]
        dealt = torch.empty(batches, world, batch_size, dtype=torch.int64)
        for number, lane in enumerate(shuffled):
            own = dealt[number % lanes :: lanes, number // lanes]
            own[:] = lane[: own.numel()].view(own.shape)
        return torch.cat([dealt.flatten(), shuffled[-1][own.numel() :]])

    def _windows(self, rows: Tensor, lanes: int) -> tuple[Tensor, ...]:
        """Cuts a lane where its share of the room is full: two windows overlap there."""
        blocks, counts = torch.unique_consecutive(self.of[rows], return_counts=True)
        lengths = [0]
        room = self.room // lanes
        for block, count in zip(blocks.tolist(), counts.tolist(), strict=True):
            weight = self.weights[block]
            if lengths[-1] and weight > room:
                lengths.append(0)
                room = self.room // lanes
            lengths[-1] += count
            room -= weight
        return rows.split(lengths)
