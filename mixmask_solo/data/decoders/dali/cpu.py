# SPDX-License-Identifier: MIT
"""DALI on the CPU, inside the workers of a loader: each decodes and augments whole batches."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo.data.decoders.dali.areas import Area, union
from mixmask_solo.data.decoders.dali.feeder import EncodedBatch, Feeder
from mixmask_solo.data.decoders.dali.pipelines import parts
from mixmask_solo.data.order.loading import WorkerLoader
from mixmask_solo.data.order.sampler import Key
from mixmask_solo.data.sources.base import Encoded

__all__ = ["Decoded", "PartDecoder", "guard"]

_CPU = torch.device("cpu")
_SILENCE = 600  # seconds without a batch after which a worker counts as lost

_built_in: set[int] = set()  # processes in which DALI's threads run


class PartDecoder:
    """Decodes parts of images with DALI, one thread.

    The pipeline is built in the process that uses it. DALI's pipelines do not survive an image
    that cannot be decoded; then the next call builds another.
    """

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._room = 0
        self._owner = -1

    def __call__(
        self, files: list[Encoded], start: NDArray[np.int64], end: NDArray[np.int64]
    ) -> list[Tensor]:
        """Decodes each image from row and column ``start`` to ``end``, exclusive, (n, 2) each.

        Returns:
            (h, w, 3) uint8 each, valid until the next call.

        Raises:
            RuntimeError: when one of them cannot be decoded.
        """
        count = len(files)
        if self._owner != os.getpid() or self._room < count:
            _built_in.add(os.getpid())
            self._pipeline, self._room, self._owner = parts(count), count, os.getpid()
        pipeline = self._pipeline
        try:
            pipeline.feed_input("encoded", files)
            pipeline.feed_input("start", start.astype(np.int32))
            pipeline.feed_input("end", end.astype(np.int32))
            (decoded,) = pipeline.run()
        except RuntimeError:
            self._owner = -1
            raise
        return [torch.from_numpy(np.asarray(decoded.at(row))) for row in range(count)]

    def __getstate__(self) -> dict[str, Any]:
        return {"_pipeline": None, "_room": 0, "_owner": -1}


def guard(loader: WorkerLoader) -> WorkerLoader:
    """Sees to it that a loader's workers cannot hang.

    A fork takes along locks that DALI's threads hold, but not the threads. Where DALI ran in this
    process already, workers are forked off a clean server instead, which starts some seconds late.
    """
    if loader.num_workers:
        loader.timeout = _SILENCE
        if os.getpid() in _built_in:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            loader.multiprocessing_context = context
    return loader


class Decoded(Dataset[Any]):
    """Batches by the numbers of their images: the dataset of a loader without a collation."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.decoder = PartDecoder()

    def __len__(self) -> int:
        return len(self.feeder.reader)

    def __getitem__(self, key: Key | int) -> Any:
        return self.__getitems__([key])

    def __getitems__(self, keys: Any) -> Any:
        """A whole batch; None where every image of it is left out."""
        read = self.feeder.read(keys)
        try:
            views = self._views(read)
        except RuntimeError:
            read = self.feeder.read(keys, by_pillow=True)
            views = self._views(read)
        return self.feeder.batch(read, views, _CPU)

    def _views(self, read: EncodedBatch) -> list[Tensor]:
        if not read.files:
            return []
        start, end = union(read.areas)
        decoded = self.decoder(read.files, start, end)
        return [_view(one, decoded, start) for one in read.areas]


def _view(area: Area, decoded: list[Tensor], origin: NDArray[np.int64]) -> Tensor:
    def pixels(rows: NDArray[np.int64]) -> Tensor:
        size = area.view.size
        squares = torch.empty((3, len(rows), size, size), dtype=torch.uint8)
        for place, row in enumerate(rows.tolist()):
            area.cut(row, decoded[row], origin[row], squares[:, place])
        flipped = np.flatnonzero(area.draws.flip[rows]).tolist()
        if flipped:
            squares[:, flipped] = squares[:, flipped].flip(3)
        return squares

    return area.view.make(pixels, area.draws, _CPU, cropped=True)
