# SPDX-License-Identifier: MIT
"""DALI on the CPU, inside the workers of a loader: each decodes and augments whole batches."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.decoders.dali.cut import cut, union
from mixmask_solo.data.decoders.dali.feeder import Fed, Feeder, Key
from mixmask_solo.data.decoders.dali.library import library
from mixmask_solo.data.decoders.dali.views import Area, View

__all__ = ["Batches", "Decoder", "guard", "whole"]

_CPU = torch.device("cpu")
_SILENCE = 600  # seconds without a batch after which a worker counts as lost

_built_in: set[int] = set()  # processes in which DALI's threads run


class Decoder:
    """Decodes parts of images with DALI, one thread.

    The pipeline is built in the process that uses it. DALI's pipelines do not survive an image
    that cannot be decoded; then the next call builds another.
    """

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._room = 0
        self._owner = -1

    def __call__(self, fed: Fed, start: NDArray[np.int64], end: NDArray[np.int64]) -> list[Tensor]:
        """Decodes a batch.

        Args:
            fed: the batch.
            start: (n, 2) first row and column of each image that is needed.
            end: (n, 2) last row and column, exclusive.

        Returns:
            (h, w, 3) uint8 each, valid until the next call.

        Raises:
            RuntimeError: when one of them cannot be decoded.
        """
        if self._owner != os.getpid() or self._room < len(fed):
            self._pipeline, self._room, self._owner = _build(len(fed)), len(fed), os.getpid()
        pipeline = self._pipeline
        try:
            pipeline.feed_input("encoded", fed.encoded)
            pipeline.feed_input("start", start.astype(np.int32))
            pipeline.feed_input("end", end.astype(np.int32))
            (decoded,) = pipeline.run()
        except RuntimeError:
            self._owner = -1
            raise
        return [torch.from_numpy(np.asarray(decoded.at(row))) for row in range(len(fed))]

    def __getstate__(self) -> dict[str, Any]:
        return {"_pipeline": None, "_room": 0, "_owner": -1}


def guard(loader: DataLoader[Any]) -> Any:
    """Sees to it that a loader's workers cannot hang.

    A fork takes along locks that DALI's threads hold, but not the threads. Where DALI ran in this
    process already, workers are forked off a clean server instead, which starts some seconds late.

    Returns:
        The loader itself.
    """
    if loader.num_workers:
        loader.timeout = _SILENCE
        if os.getpid() in _built_in:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            loader.multiprocessing_context = context
    return loader


def _build(batch_size: int) -> Any:
    _built_in.add(os.getpid())
    dali = library()
    pipeline = dali.pipeline.Pipeline(
        batch_size=batch_size,
        num_threads=1,
        device_id=None,
        prefetch_queue_depth=1,
        exec_pipelined=False,
        exec_async=False,
    )
    with pipeline:
        encoded = dali.fn.external_source(name="encoded", dtype=dali.types.UINT8, ndim=1)
        start = dali.fn.external_source(name="start", dtype=dali.types.INT32, ndim=1)
        end = dali.fn.external_source(name="end", dtype=dali.types.INT32, ndim=1)
        decoded = dali.fn.decoders.image_slice(
            encoded,
            start=start,
            end=end,
            axis_names="HW",
            device="cpu",
            output_type=dali.types.RGB,
            adjust_orientation=False,  # Pillow ignores EXIF too
            jpeg_fancy_upsampling=True,  # libjpeg's default, and so Pillow's
        )
        pipeline.set_outputs(decoded)
    pipeline.build()
    return pipeline


class Batches(Dataset[Any]):
    """Batches by the numbers of their images: the dataset of a loader without a collation.

    Args:
        feeder: reads the stored images.
        views: what is made of each of them.
        seed: with (epoch, index, number of the view) it decides each view.
        labelled: whether a batch is ``[x, targets]`` instead of ``[indexes, views, targets]``.
    """

    def __init__(self, feeder: Feeder, views: Sequence[View], seed: int, *, labelled: bool) -> None:
        self.feeder = feeder
        self.views = list(views)
        self.seed = seed
        self.labelled = labelled
        self.decoder = Decoder()

    def __len__(self) -> int:
        return len(self.feeder.source)

    def __getitem__(self, key: Key | int) -> Any:
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[Key | int]) -> list[Any] | None:
        """A whole batch; None where every image of it is left out."""
        pairs = [key if isinstance(key, tuple) else (0, key) for key in keys]
        fed = self.feeder.read(pairs)
        try:
            views = self._views(fed)
        except RuntimeError:
            fed = self.feeder.repaired(pairs)
            views = self._views(fed)
        return whole(fed, views, self.feeder, labelled=self.labelled)

    def _views(self, fed: Fed) -> list[Tensor]:
        if len(fed) == 0:
            return []
        drawn = [v.draw(fed.sizes, self.seed, fed.epoch, fed.indexes) for v in self.views]
        areas = [v.area(d, fed.sizes) for v, d in zip(self.views, drawn, strict=True)]
        start, end = union(areas)
        decoded = self.decoder(fed, start, end)
        return [
            _view(view, draws, area, decoded, start)
            for view, draws, area in zip(self.views, drawn, areas, strict=True)
        ]


def _view(
    view: View, draws: Draws, area: Area, decoded: Sequence[Tensor], origin: NDArray[np.int64]
) -> Tensor:
    def take(rows: NDArray[np.int64]) -> Tensor:
        squares = torch.empty((3, len(rows), view.size, view.size), dtype=torch.uint8)
        for place, row in enumerate(rows.tolist()):
            part = area.part(row)
            cut(decoded[row], part, origin[row], view.size, view.kernel, squares[:, place])
        flipped = np.flatnonzero(draws.flip[rows]).tolist()
        if flipped:
            squares[:, flipped] = squares[:, flipped].flip(3)
        return squares

    return view(take, np.arange(len(decoded)), draws, _CPU)


def whole(fed: Fed, views: list[Tensor], feeder: Feeder, *, labelled: bool) -> list[Any] | None:
    """A batch as training takes it."""
    if len(fed) == 0:
        return None
    targets = torch.from_numpy(feeder.source.labels[fed.indexes])
    return [views[0], targets] if labelled else [torch.from_numpy(fed.indexes), views, targets]
