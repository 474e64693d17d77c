# SPDX-License-Identifier: MIT
"""Masks drawn ahead: one large draw serves many batches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["MaskPool"]


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

    def __init__(
        self,
        draw: Callable[[int, torch.Generator], Tensor],
        per_batch: int,
        batches: int,
        generator_for: Callable[[int, int], torch.Generator],
    ) -> None:
        self._draw = draw
        self._per_batch = per_batch
        self._batches = batches
        self._generator_for = generator_for
        self._address: tuple[int, int] | None = None
        self._masks: Tensor

    def take(self, epoch: int, batch_index: int) -> Tensor:
        """Masks of one batch, ``(per_batch, ...)``: a view of the pool, not to be written to."""
        block, offset = divmod(batch_index, self._batches)
        if self._address != (epoch, block):
            generator = self._generator_for(epoch, block)
            self._masks = self._draw(self._per_batch * self._batches, generator)
            self._address = (epoch, block)
        return self._masks.narrow(0, offset * self._per_batch, self._per_batch)
