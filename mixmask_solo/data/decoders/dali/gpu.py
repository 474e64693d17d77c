# SPDX-License-Identifier: MIT
"""Loaders of batches that DALI decodes on a GPU, several ahead of training."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.decoders.dali.cpu import whole
from mixmask_solo.data.decoders.dali.decoding import Decoding, Gpu, Order
from mixmask_solo.data.decoders.dali.feeder import Feeder, Key
from mixmask_solo.data.decoders.dali.views import View
from mixmask_solo.data.order.loading import Resumable
from mixmask_solo.data.order.sampler import EpochBatches, Shard

__all__ = ["GpuEpochLoader", "GpuPlainLoader"]


class _Stream:
    """Batches in the order in which they are asked for, some of them on their way.

    One thread reads files while the GPU decodes what was read before. It ends with the iteration,
    whoever ends it.
    """

    def __init__(self, decoding: Decoding, *, labelled: bool) -> None:
        self.decoding = decoding
        self.labelled = labelled

    def __call__(self, batches: Iterable[list[Key]]) -> Iterator[Any]:
        coming = iter(batches)
        read: deque[Future[Order]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="mixmask-read") as reader:
            try:
                self._fill(reader, read, coming)
                while (decoded := self.decoding.get()) is not None:
                    self._fill(reader, read, coming)
                    batch = self._batch(*decoded)
                    if batch is not None:
                        yield batch
            finally:
                for future in read:
                    future.cancel()

    def _fill(
        self,
        reader: ThreadPoolExecutor,
        read: deque[Future[Order]],
        coming: Iterator[list[Key]],
    ) -> None:
        """Sets reading and decoding to work; waits for files where nothing else is left to do."""
        decoding = self.decoding
        while len(read) <= decoding.gpu.prefetch and (keys := next(coming, None)) is not None:
            read.append(reader.submit(decoding.order, keys))
        while read and decoding.free and (read[0].done() or decoding.empty):
            decoding.put(read.popleft().result())

    def _batch(self, order: Order, pixels: list[Tensor]) -> list[Any] | None:
        device = self.decoding.gpu.device
        views = [
            view(_take(squares), np.arange(len(order.fed)), draws, device)
            for view, squares, draws in zip(self.decoding.views, pixels, order.draws, strict=False)
        ]
        batch = whole(order.fed, views, self.decoding.feeder, labelled=self.labelled)
        if batch is None:
            return None
        return [part if isinstance(part, list) else part.to(device) for part in batch]


def _take(squares: Tensor) -> Any:
    planes = squares.permute(3, 0, 1, 2)

    def take(rows: NDArray[np.int64]) -> Tensor:
        return planes.index_select(1, torch.from_numpy(rows).to(squares.device))

    return take


class GpuEpochLoader(Resumable):
    """Augmented batches of an epoch on the GPU.

    Args:
        feeder: reads the stored images.
        views: what is made of each of them.
        batches: which images form which batch.
        gpu: where.
        labelled: whether a batch is ``[x, targets]`` instead of ``[indexes, views, targets]``.
    """

    def __init__(
        self,
        feeder: Feeder,
        views: Sequence[View],
        batches: EpochBatches,
        gpu: Gpu,
        *,
        labelled: bool,
    ) -> None:
        self.batches = batches
        self.feeder = feeder
        self.views = views
        self.gpu = gpu
        self.labelled = labelled

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        """The batches from where training stands when the first of them is asked for."""
        decoding = Decoding(
            self.feeder, self.views, self.batches.seed, self.batches.batch_size, self.gpu
        )
        yield from _Stream(decoding, labelled=self.labelled)(self.batches)


class GpuPlainLoader:
    """Un-augmented batches in order on the GPU, the incomplete last one included.

    Args:
        feeder: reads the stored images.
        view: what is made of each of them.
        indexes: of the images.
        batch_size: images of a batch.
        gpu: where.
    """

    def __init__(
        self, feeder: Feeder, view: View, indexes: Shard, batch_size: int, gpu: Gpu
    ) -> None:
        self.feeder = feeder
        self.view = view
        self.dataset = list(indexes)  # a DataLoader's name for what has as many items as images
        self.batch_size = batch_size
        self.gpu = gpu

    def __len__(self) -> int:
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        decoding = Decoding(self.feeder, [self.view], 0, self.batch_size, self.gpu)
        starts = range(0, len(self.dataset), self.batch_size)
        keys = ([(0, i) for i in self.dataset[s : s + self.batch_size]] for s in starts)
        yield from _Stream(decoding, labelled=True)(keys)
