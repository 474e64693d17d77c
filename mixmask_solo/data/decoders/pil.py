# SPDX-License-Identifier: MIT
"""The decoder for everything: Pillow and torchvision's transforms, in worker processes.

Augmented samples are asked for by ``(epoch, index)``: the epoch travels with the index, so that a
worker that outlives an epoch knows which one it serves, and a sample is the same whoever makes it.
"""

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import BatchSampler, Dataset

from mixmask_solo.data.augmentations.randomness import reseed
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.loading import WorkerLoader
from mixmask_solo.data.order.sampler import EpochBatches, Key
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tasks import Task
from mixmask_solo.data.tolerance import Reader


class Augmented(Dataset[Any]):
    """A task's views of an image, from one decoding.

    The reader's seed, together with (epoch, index, number of the view), decides each view.
    """

    def __init__(self, reader: Reader, task: Task) -> None:
        self.reader = reader
        self.labelled = task.labelled
        self.transforms = [p for p in task.pipelines for _ in range(p.num_crops)]

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, key: Key) -> Any:
        epoch, asked = key
        index, image = self.reader.pick(asked, epoch)
        views = []
        # in the main process, training needs the CPU generator as it was
        with torch.random.fork_rng(devices=()):
            for number, transform in enumerate(self.transforms):
                reseed(self.reader.seed, epoch, index, number)
                views.append(transform(image))
        label = self.reader.source.label(index)
        return (views[0], label) if self.labelled else (index, views, label)


class Plain(Dataset[Any]):
    """The un-augmented image and the label: ``(x, label)``; None for one that is left out."""

    def __init__(self, reader: Reader, transform: Callable[[Image.Image], Tensor]) -> None:
        self.reader = reader
        self.transform = transform

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Tensor, int] | None:
        image = self.reader.read(index)
        return None if image is None else (self.transform(image), self.reader.source.label(index))


class Pil:
    """``data.format`` is a storage, see :class:`mixmask_solo.data.module.Decoder`."""

    title = "Pillow"

    def training(self, data: ImageData, batches: EpochBatches) -> WorkerLoader:
        dataset = Augmented(data.reader(data.opened), data.task)
        workers, last = data.workers(data.opened), data.channels_last
        return WorkerLoader(dataset, batches, workers, device=data.device, channels_last=last)

    def in_order(self, data: ImageData, source: Source, batches: BatchSampler) -> WorkerLoader:
        dataset = Plain(data.reader(source), data.task.still.transform)
        return WorkerLoader(dataset, batches, data.workers(source), device=data.device)
