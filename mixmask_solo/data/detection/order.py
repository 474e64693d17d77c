# SPDX-License-Identifier: MIT
"""Which images form which batch of a run that is counted in steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from torch import Tensor

from mixmask_solo.data.order.sampler import EpochBatches, Key


@dataclass(eq=False)
class RoundBatches(EpochBatches):
    """An endless row of shuffled passes over the images, cut into rounds of ``length`` batches.

    A round is what a trainer takes for an epoch; it ends where it ends, in the middle of a pass.
    No batch is ever incomplete: one that a pass ends in begins the next pass. Batches of all
    processes together are pieces of the row, as in :class:`EpochBatches`; keys are (pass, number).
    """

    length: int = 1

    def __post_init__(self) -> None:
        self._orders = lru_cache(maxsize=2)(self.order)

    def __len__(self) -> int:
        return self.length

    def since(self, epoch: int, start: int) -> Iterator[list[Key]]:
        """The batches of a round from one of them on."""
        for batch in range(epoch * self.length + start, (epoch + 1) * self.length):
            first = (batch * self.world + self.rank) * self.batch_size
            yield [self._at(place) for place in range(first, first + self.batch_size)]

    def _at(self, place: int) -> Key:
        turn, within = divmod(place, len(self.source))
        order: Tensor = self._orders(turn)
        return turn, int(order[within])
