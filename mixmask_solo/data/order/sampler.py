# SPDX-License-Identifier: MIT
"""Which images form which batch: a function of (seed, epoch), cut up among the processes."""

from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import Sampler

from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.sources import Source

Key = tuple[int, int]
"""Epoch and number of an image: what a place of a training batch is asked for by."""

Last = Literal["drop", "pad", "keep"]
"""Of an incomplete batch at the end: filled with the epoch's first images, or evenly shared, for
which fewer than ``world`` images are added."""


@dataclass(eq=False)
class EpochBatches(Sampler[list[Key]]):
    """Batches of ``(epoch, index)`` pairs, equally many and as large in each process.

    One shuffled order per epoch; batch b of all processes together is its b-th piece of
    ``batch_size * world`` images, of which each process takes a contiguous share. So two
    processes of 64 train on the very batches of one process of 128; only where images are read in
    blocks, each process has blocks of its own.
    """

    source: Source  # decides number and order of the images
    batch_size: int  # of one process
    _: KW_ONLY
    seed: int  # with the epoch it decides the order
    rank: int = 0  # of this process
    world: int = 1  # number of processes
    last: Last = "drop"
    position: Callable[[], tuple[int, int]] | None = None  # (epoch, first batch) of an iteration
    _next: tuple[int, int] = field(default=(0, 0), init=False)  # the same, where nobody tells it

    def __len__(self) -> int:
        """Of a whole epoch, also where an iteration starts later in it."""
        images, batch = len(self.source), self.batch_size * self.world
        return -(-images // batch) if self.last != "drop" else images // batch

    def set_epoch(self, epoch: int, start_batch: int = 0) -> None:
        """The epoch of the next iteration and the batch it starts with."""
        self._next = (epoch, start_batch)

    def order(self, epoch: int) -> Tensor:
        """(len(source),) int64: the shuffled indexes of an epoch, the same in all processes."""
        generator = torch.Generator().manual_seed(mix(self.seed, epoch))
        blocks = self.source.blocks()
        if blocks is None:
            return self.source.shuffled(generator)
        return blocks.order(generator, self.world, self.batch_size)

    def begin(self) -> tuple[int, int]:
        """Epoch and first batch of an iteration that starts now."""
        return self._next if self.position is None else self.position()

    def __iter__(self) -> Iterator[list[Key]]:
        return self.since(*self.begin())

    def since(self, epoch: int, start: int) -> Iterator[list[Key]]:
        """The batches of an epoch from one of them on."""
        order = self.order(epoch)
        of_all = self.world * self.batch_size
        if self.last != "drop":
            unit = self.world if self.last == "keep" else of_all
            order = torch.cat([order, order[: -len(order) % unit]])
        for piece in order.split(of_all)[start : len(self)]:
            share = len(piece) // self.world
            own = piece[self.rank * share : (self.rank + 1) * share]
            yield [(epoch, index) for index in own.tolist()]


class Shard(Sampler[int]):
    """A process' share of the images in order: nothing twice, nothing left out.

    Every ``world``-th image, or, where images are read in blocks, as many neighbours.
    """

    def __init__(self, source: Source, rank: int = 0, world: int = 1) -> None:
        size = len(source)
        self.indexes = range(rank, size, world)
        if source.blocks() is not None:
            before = sum(len(range(other, size, world)) for other in range(rank))
            self.indexes = range(before, before + len(self.indexes))

    def __len__(self) -> int:
        return len(self.indexes)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indexes)


def position(trainer: Trainer) -> tuple[int, int]:
    """Epoch, and number of its batches that were trained on already, where a trainer stands now.

    Asked when the first batch is due. By then the counters are restored, but perhaps not yet put in
    order:

    * between epochs (saved at the end of one): the batch counter still belongs to the old epoch;
    * within an epoch: ``processed`` counts the batches whose optimiser step is done;
    * after the last batch of an epoch but before its end: Lightning goes on with the next epoch.
    """
    loop: Any = trainer.fit_loop
    epoch = loop.epoch_progress.current
    if epoch.ready == epoch.processed:
        return epoch.processed, 0
    done = loop.epoch_loop.batch_progress.current.processed
    if 0 < loop.max_batches <= done:
        return epoch.processed + 1, 0
    return epoch.processed, done
