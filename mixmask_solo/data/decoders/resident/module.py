# SPDX-License-Identifier: MIT
"""The decoder for small data sets: decoded once, kept in memory, augmented in batches.

Each training process holds the whole set, as every epoch deals its images out anew; on one machine
that is one copy a GPU, or a process where they are kept in the machine's memory. Which images form
a batch, and which draws a view is made with, does not depend on anything but (seed, epoch, index,
number of the view).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import listing
from mixmask_solo.data.augmentations.draws import DRAWS
from mixmask_solo.data.augmentations.standard import probe_options, resizing
from mixmask_solo.data.batched import Maker
from mixmask_solo.data.batched.exact import Unaugmented
from mixmask_solo.data.decoders.pil import ClassificationData, PretrainData
from mixmask_solo.data.decoders.resident.batches import Batches, InOrder, Recipe, recipes
from mixmask_solo.data.decoders.resident.loader import MemoryLoader
from mixmask_solo.data.decoders.resident.memory import choose_home
from mixmask_solo.data.decoders.resident.stack import Stack, decode
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.cores import core_share
from mixmask_solo.data.order.loading import EpochLoader, plain_loader
from mixmask_solo.data.order.sampler import Shard
from mixmask_solo.data.sources import Source

__all__ = ["ResidentClassification", "ResidentPretrain"]

_HOMES = ("auto", "device", "host")


class _Resident(ImageData):
    """Loaders of images in memory."""

    home: str
    _stacks: dict[int, Stack]

    def _read_home(self) -> None:
        self.home = self.block.get("resident_on") or "auto"
        if self.home not in _HOMES:
            raise ConfigError(f"data.resident_on is {self.home!r}: choose {listing(_HOMES)}")
        self._stacks = {}

    def stack(self, source: Source) -> Stack:
        """The images of a source, decoded when they are first asked for."""
        found = self._stacks.get(id(source))
        if found is None:
            found = decode(
                source,
                self._choose,
                device=self.device,
                workers=self._decoders(),
                tolerance=self.tolerance,
                quiet=self.place[0] > 0,
            )
        elif found.device != self.device:  # asked for before there was a trainer
            what = f"{len(found):,} images of {found.size[1]}x{found.size[0]}"
            found = found.moved(self._choose(found.planes.nbytes, what), self.device)
        self._stacks[id(source)] = found
        return found

    def in_memory(self, made: Sequence[Recipe], *, labelled: bool) -> EpochLoader:
        """A loader of training batches."""
        batches = self.batches()
        dataset = Batches(self.stack(self.opened), made, self.seed, labelled=labelled)
        return MemoryLoader(dataset, batches, self.device)

    def unaugmented(self, source: Source, view: Unaugmented, *, shard: bool) -> Any:
        """A loader of images in order, of this process' share or of all."""
        sampler = Shard(source, *self.place) if shard else None
        dataset = InOrder(self.stack(source), view)
        return plain_loader(dataset, self.batch_size, 0, sampler, in_memory=True)

    def _choose(self, need: int, what: str) -> torch.device:
        return choose_home(need, what, self.device, self.home, self.processes)

    def _decoders(self) -> int:
        """Nothing else runs while images are decoded: all cores, unless a number is given."""
        setting = self.block.get("num_workers")
        return setting if isinstance(setting, int) else core_share(self.processes)


class ResidentPretrain(_Resident, PretrainData):
    """Views for pretraining; batches are those of ``PretrainData``, on the training device.

    Args:
        cfg: the configuration, as for ``PretrainData``; ``data.resident_on`` is read besides.

    Raises:
        ConfigError: for anything wrong in its keys, or a pipeline for single images only.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self._read_home()
        for pipeline in self.pipelines:
            if pipeline.name not in DRAWS:
                raise ConfigError(
                    f"{pipeline.key}.pipeline is {pipeline.name!r}, which data.format=resident "
                    f"cannot make: choose {listing(sorted(DRAWS))}, or another data.format"
                )

    def train_dataloader(self) -> EpochLoader:
        """The views of each image."""
        return self.in_memory(
            recipes(self.pipelines, channels_last=self.channels_last), labelled=False
        )

    def in_order(self, source: Source, *, shard: bool) -> Any:
        first = self.pipelines[0]
        fit = resizing(self.dataset, first.crop_size)
        view = Unaugmented(first.crop_size, first.mean, first.std, *fit)
        return self.unaugmented(source, view, shard=shard)


class ResidentClassification(_Resident, ClassificationData):
    """Labelled images for a probe; batches are those of ``ClassificationData``.

    Args:
        cfg: the configuration, as for ``ClassificationData``; ``data.resident_on`` besides.

    Raises:
        ConfigError: for anything wrong in the keys it reads.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self._read_home()

    def train_dataloader(self) -> EpochLoader:
        """Randomly cropped training images, as ``standard.probe_training`` makes them."""
        options = probe_options(self.dataset, self.size)
        maker = Maker(
            self.size,
            self.mean,
            self.std,
            kernel=options.rrc.interpolation,
            channels_last=self.channels_last,
        )
        return self.in_memory([Recipe(maker, "solo", options, range(1))], labelled=True)

    def in_order(self, source: Source, *, shard: bool) -> Any:
        view = Unaugmented(self.size, self.mean, self.std, *resizing(self.dataset, self.size))
        return self.unaugmented(source, view, shard=shard)
