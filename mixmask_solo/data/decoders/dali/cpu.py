# SPDX-License-Identifier: MIT
"""DALI on the CPU, inside the workers of a loader: each decodes and augments whole batches."""

import multiprocessing
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo.data.decoders.dali.feeder import Area, EncodedBatch, Feeder
from mixmask_solo.data.decoders.dali.forks import dali_runs_here
from mixmask_solo.data.decoders.dali.pipelines import parts
from mixmask_solo.data.order.loading import WorkerLoader
from mixmask_solo.data.sources.base import Encoded

_CPU = torch.device("cpu")
_SILENCE = 600  # seconds without a batch after which a worker counts as lost


class PartDecoder:
    """Decodes parts of images with DALI, one thread.

    The pipeline is built in the process that uses it. It does not survive an image that cannot be
    decoded; then the next call builds another.
    """

    def __init__(self) -> None:
        self._pipeline: Any = None
        self._room = 0

    def __call__(
        self, files: list[Encoded], start: NDArray[np.int64], end: NDArray[np.int64]
    ) -> list[Tensor]:
        """Each image from row and column ``start`` to ``end``, exclusive, (n, 2) each.

        As (h, w, 3) uint8, valid until the next call.

        Raises:
            RuntimeError: when one of them cannot be decoded.
        """
        count = len(files)
        if self._pipeline is None or self._room < count:
            self._pipeline, self._room = parts(count), count
        pipeline = self._pipeline
        try:
            pipeline.feed_input("encoded", files)
            pipeline.feed_input("start", start.astype(np.int32))
            pipeline.feed_input("end", end.astype(np.int32))
            (decoded,) = pipeline.run()
        except RuntimeError:
            self._pipeline = None
            raise
        return [torch.from_numpy(np.asarray(decoded.at(row))) for row in range(count)]


class BatchLoader(WorkerLoader):
    """Whole batches of :class:`Decoded`, by workers that cannot hang."""

    def __iter__(self) -> Any:
        if self.num_workers:
            self.timeout = _SILENCE
            if dali_runs_here():
                self._leave_clean()
        feeder: Feeder = self.dataset.feeder  # type: ignore[attr-defined]
        with feeder.sharing():
            yield from super().__iter__()

    def _leave_clean(self) -> None:
        """Has workers forked off a clean server, which takes some seconds to start.

        A fork of this process would take along locks that DALI's threads hold, but not the threads.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.multiprocessing_context = context


class Decoded(Dataset[Any]):
    """Whole batches: the dataset of a loader without a collation."""

    def __init__(self, feeder: Feeder) -> None:
        self.feeder = feeder
        self.decoder = PartDecoder()

    def __len__(self) -> int:
        return len(self.feeder.reader)

    def __getitems__(self, keys: Any) -> Any:
        """A batch as training takes it, see :meth:`Feeder.batch`."""
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
        boxes = np.stack([area.draws.box for area in read.areas])
        start = boxes[..., :2].min(axis=0)
        end = (boxes[..., :2] + boxes[..., 2:]).max(axis=0)
        decoded = self.decoder(read.files, start, end)  # what any of the views shows
        return [_view(area, decoded, start) for area in read.areas]


def _view(area: Area, decoded: list[Tensor], origin: NDArray[np.int64]) -> Tensor:
    def pixels(rows: NDArray[np.int64]) -> Tensor:
        size = area.view.size
        squares = torch.empty((3, len(rows), size, size), dtype=torch.uint8)
        for place, row in enumerate(rows.tolist()):
            squares[:, place] = _square(area, row, decoded[row], origin[row])
        flipped = np.flatnonzero(area.draws.flip[rows]).tolist()
        if flipped:
            squares[:, flipped] = squares[:, flipped].flip(3)
        return squares

    return area.view.make(pixels, area.draws, _CPU, cropped=True)


def _square(area: Area, row: int, part: Tensor, origin: NDArray[np.int64]) -> Tensor:
    """What is shown, not mirrored, of an image's decoded part (H, W, 3) that begins at ``origin``.

    As (3, size, size) uint8, resized with antialiasing as Pillow does it.
    """
    top, left, height, width = area.draws.box[row].tolist()
    top, left = top - int(origin[0]), left - int(origin[1])
    shown = part[top : top + height, left : left + width].permute(2, 0, 1)[None]
    fit, size = area.fit[row].tolist(), area.view.size
    if fit != [height, width]:
        kernel = area.view.kernel
        shown = F.interpolate(shown, fit, mode=kernel, antialias=True, align_corners=False)
    down, right = (round((length - size) / 2.0) for length in fit)  # torchvision's rounding
    return shown[0, :, down : down + size, right : right + size]
