# SPDX-License-Identifier: MIT
"""A loader without workers, which makes several batches in one go where that pays."""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor

from mixmask_solo.data.decoders.resident.batches import Batches
from mixmask_solo.data.order.loading import EpochLoader
from mixmask_solo.data.order.sampler import EpochBatches

__all__ = ["MemoryLoader"]

# A GPU works on small views faster than the CPU can tell it to, some hundred operations a go.
_VIEWS_AT_ONCE = 2048


class MemoryLoader(EpochLoader):
    """Training batches out of memory.

    Args:
        dataset: makes them.
        batches: which images form which batch.
        device: where they are made; on a GPU several small batches at once. Which ones go together
            depends on their numbers alone, not on where an iteration starts: the last bit of a
            product may depend on how many are computed together.
    """

    def __init__(self, dataset: Batches, batches: EpochBatches, device: torch.device) -> None:
        super().__init__(dataset, batches, 0, in_memory=True)
        self.make = dataset.__getitems__
        views = batches.batch_size * dataset.views
        self.at_once = 1 if device.type == "cpu" else max(1, _VIEWS_AT_ONCE // views)

    def __iter__(self) -> Any:
        """See ``EpochLoader``."""
        epoch, start = self.batches.begin()
        surplus = start % self.at_once
        rest = self.batches.since(epoch, start - surplus)
        while group := list(islice(rest, self.at_once)):
            made = self.make([pair for batch in group for pair in batch])
            sizes = [len(batch) for batch in group]
            for batch in islice(zip(*_parts(made, sizes), strict=True), surplus, None):
                yield list(batch)
            surplus = 0


def _parts(made: Any, sizes: list[int]) -> list[list[Any]]:
    """Each member of several batches made together, as a list over the batches."""
    parts: list[list[Any]] = []
    for member in made:
        if isinstance(member, Tensor):
            parts.append(list(member.split(sizes)))
        else:
            parts.append([list(views) for views in zip(*_parts(member, sizes), strict=True)])
    return parts
