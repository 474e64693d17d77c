# SPDX-License-Identifier: MIT
"""Masks drawn ahead: one large draw serves many batches."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(eq=False)
class MaskPool:
    """Hands out a batch's masks by (epoch, batch index), drawing a block of batches at a time.

    Which masks a batch gets depends on its address alone, not on what was asked before: a resumed
    run that starts in the middle of an epoch repeats the masks of an uninterrupted one.

    Args:
        draw: ``draw(n, generator) -> (n, ...)``, for instance ``blocked`` with its grid bound.
        per_batch: masks in a batch.
        batches: batches drawn at once.
        generator_for: ``generator_for(epoch, block)`` gives a fresh generator seeded by exactly
            these two (and whatever else tells runs apart); block = batch index // ``batches``.
    """

    draw: Callable[[int, torch.Generator], Tensor]
    per_batch: int
    batches: int
    generator_for: Callable[[int, int], torch.Generator]
    _address: tuple[int, int] | None = field(default=None, init=False)
    _masks: Tensor = field(init=False, repr=False)

    def take(self, epoch: int, batch_index: int) -> Tensor:
        """Masks of one batch, ``(per_batch, ...)``: a view of the pool, not to be written to."""
        block, offset = divmod(batch_index, self.batches)
        if self._address != (epoch, block):
            generator = self.generator_for(epoch, block)
            self._masks = self.draw(self.per_batch * self.batches, generator)
            self._address = (epoch, block)
        return self._masks.narrow(0, offset * self.per_batch, self.per_batch)
