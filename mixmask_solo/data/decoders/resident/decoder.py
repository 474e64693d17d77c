# SPDX-License-Identifier: MIT
"""The decoder for small data sets: decoded once, kept in memory, augmented in batches.

Each training process holds the whole set, as every epoch deals its images out anew.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import BatchSampler

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.batched.plan import to_device
from mixmask_solo.data.batched.views import View, require_draws, unaugmented_view, views_of
from mixmask_solo.data.decoders.resident.memory import choose_home
from mixmask_solo.data.decoders.resident.stack import Stack, decode
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.loading import DirectLoader
from mixmask_solo.data.order.sampler import EpochBatches, Key
from mixmask_solo.data.order.workers import core_share
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tasks import Task

# A GPU works on small views faster than the CPU can tell it to, some hundred operations a go.
_VIEWS_AT_ONCE = 2048


class Resident:
    """``data.format: resident``, see :class:`mixmask_solo.data.module.Decoder`.

    Raises:
        ConfigError: for a pipeline for single images only.
    """

    title = "Pillow once, kept in memory"

    def __init__(self, task: Task) -> None:
        require_draws(task.pipelines, "data.format=resident", "another data.format")
        self._stacks: dict[int, Stack] = {}

    def training(self, data: ImageData, batches: EpochBatches) -> DirectLoader:
        views = views_of(data.pipelines, channels_last=data.channels_last)
        dataset = Augmented(self.stack(data, data.opened), views, labelled=data.task.labelled)
        return DirectLoader(dataset, batches, dataset.epoch)

    def in_order(self, data: ImageData, source: Source, batches: BatchSampler) -> DirectLoader:
        stack = self.stack(data, source)
        return DirectLoader(stack, batches, partial(in_order, stack, unaugmented_view(data.task)))

    def stack(self, data: ImageData, source: Source) -> Stack:
        """The images of a source, decoded when they are first asked for."""

        def choose(need: int, what: str) -> torch.device:
            return choose_home(need, what, data.device, data.options.resident_on, data.processes)

        found = self._stacks.get(id(source))
        if found is None:
            # nothing else runs while images are decoded: all cores, unless a number is given
            setting = data.options.num_workers
            workers = setting if isinstance(setting, int) else core_share(data.processes)
            reader, quiet = data.reader(source), data.place[0] > 0
            found = decode(reader, choose, device=data.device, workers=workers, quiet=quiet)
        elif found.device != data.device:  # asked for before there was a trainer
            home = choose(found.planes.nbytes, str(found))
            found = Stack(found.reader, found.planes.to(home), data.device)
        self._stacks[id(source)] = found
        return found


class Augmented:
    """Training batches of a stack, see :class:`mixmask_solo.data.tasks.Task`.

    Views that differ by their draws alone are made together.
    """

    def __init__(self, stack: Stack, views: Sequence[View], *, labelled: bool) -> None:
        self.stack = stack
        self.groups = [list(g) for _, g in groupby(views, key=lambda view: replace(view, number=0))]
        self.views = len(views)
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.stack)

    def together(self, batches: Sequence[Sequence[Key]]) -> Iterator[list[Any]]:
        """Batches of one epoch, made in one go."""
        keys = [key for batch in batches for key in batch]
        epoch, sizes = keys[0][0], [len(batch) for batch in batches]
        indexes = np.array([self._present(index, epoch) for _, index in keys], dtype=np.int64)
        views = [view for group in self.groups for view in self._made(group, epoch, indexes)]
        of_batch = zip(*(view.split(sizes) for view in views), strict=True)
        device = self.stack.device
        targets = to_device(self.stack.labels[indexes], device).split(sizes)
        if self.labelled:
            yield from ([x, y] for (x,), y in zip(of_batch, targets, strict=True))
            return
        numbers = to_device(indexes, device).split(sizes)
        yield from ([n, list(v), y] for n, v, y in zip(numbers, of_batch, targets, strict=True))

    def at_once(self, batch_size: int) -> int:
        """How many batches are made in one go."""
        if self.stack.device.type == "cpu":
            return 1
        return max(1, _VIEWS_AT_ONCE // (batch_size * self.views))

    def epoch(self, batches: EpochBatches) -> Iterator[list[Any]]:
        """The batches from where training stands.

        Which ones are made together depends on their numbers alone, not on where an iteration
        starts: the last bit of a product may depend on how many are computed together.
        """
        epoch, start = batches.begin()
        at_once = self.at_once(batches.batch_size)
        surplus = start % at_once
        rest = batches.since(epoch, start - surplus)
        while group := list(islice(rest, at_once)):
            yield from islice(self.together(group), surplus, None)
            surplus = 0

    def _made(self, group: list[View], epoch: int, indexes: NDArray[np.int64]) -> Sequence[Tensor]:
        stack = self.stack
        sizes = np.tile(np.array([stack.size]), (len(indexes), 1))
        draws = [view.draw(sizes, stack.reader.seed, epoch, indexes) for view in group]
        of_row = np.tile(indexes, len(group))
        made = group[0].make(lambda rows: stack.take(of_row[rows]), Draws.join(draws), stack.device)
        return made.split(len(indexes))

    def _present(self, index: int, epoch: int) -> int:
        """The image, or the one that takes its place."""
        candidates = self.stack.reader.candidates(index, epoch)
        return next(one for one in candidates if self.stack.present[one])


def in_order(stack: Stack, view: View, batches: Iterable[list[int]]) -> Iterator[Any]:
    """Un-augmented batches ``[x, targets]``; None where all images of one are damaged."""
    for indexes in batches:
        chosen = np.array(indexes, dtype=np.int64)
        chosen = chosen[stack.present[chosen]]
        targets = to_device(stack.labels[chosen], stack.device)
        yield [view.unaugmented(stack.take(chosen)), targets] if len(chosen) else None
