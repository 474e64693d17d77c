# SPDX-License-Identifier: MIT
"""The decoder for small data sets: decoded once, kept in memory, augmented in batches.

Each training process holds the whole set, as every epoch deals its images out anew.
"""

from functools import partial
from typing import Any

import torch
from torch.utils.data import BatchSampler

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.data.batched.views import require_draws, unaugmented_view, views_of
from mixmask_solo.data.block import data_block
from mixmask_solo.data.decoders.resident.batches import Augmented, in_order
from mixmask_solo.data.decoders.resident.memory import choose_home
from mixmask_solo.data.decoders.resident.stack import Stack, decode
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.cores import core_share
from mixmask_solo.data.order.loading import DirectLoader
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tasks import Task

_HOMES = ("auto", "device", "host")


class Resident:
    """``data.format: resident``, see :class:`mixmask_solo.data.module.Decoder`.

    Raises:
        ConfigError: for a wrong ``data.resident_on`` or a pipeline for single images only.
    """

    def __init__(self, cfg: Any, task: Task) -> None:
        self.home = data_block(cfg).get("resident_on") or "auto"
        if self.home not in _HOMES:
            raise ConfigError(f"data.resident_on is {self.home!r}: choose {listing(_HOMES)}")
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
            return choose_home(need, what, data.device, self.home, data.processes)

        found = self._stacks.get(id(source))
        if found is None:
            # nothing else runs while images are decoded: all cores, unless a number is given
            setting = data.block.get("num_workers")
            workers = setting if isinstance(setting, int) else core_share(data.processes)
            reader, quiet = data.reader(source), data.place[0] > 0
            found = decode(reader, choose, device=data.device, workers=workers, quiet=quiet)
        elif found.device != data.device:  # asked for before there was a trainer
            found = found.moved(choose(found.planes.nbytes, str(found)), data.device)
        self._stacks[id(source)] = found
        return found
