# SPDX-License-Identifier: MIT
"""DALI on a GPU: decoding and cropping there, several batches ahead of training."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.batched.views import View
from mixmask_solo.data.decoders.dali.areas import area, window
from mixmask_solo.data.decoders.dali.feeder import EncodedBatch, Feeder
from mixmask_solo.data.decoders.dali.pipelines import crops
from mixmask_solo.data.order.sampler import Key

__all__ = ["Gpu", "stream"]

Keys = Sequence[Key] | Sequence[int]


class Gpu(NamedTuple):
    """Where and how much.

    Attributes:
        device: the GPU; the CPU works as well, slower than ``cpu.Decoded``, and serves the tests.
        threads: DALI's, of all pipelines together.
        prefetch: batches decoded ahead.
        batch_size: the largest batch.
    """

    device: torch.device
    threads: int
    prefetch: int
    batch_size: int


class _Pending(NamedTuple):
    """A batch on its way: what was asked for, what is fed, how its views are drawn."""

    keys: Keys
    read: EncodedBatch
    draws: list[Draws]
    windows: list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class _Pipelines:
    """DALI pipelines with one batch inside each.

    As many as there are batches to decode ahead, and not one with a queue: that would take its
    whole queue at once, also where an epoch ends sooner, and DALI's pipelines do not survive an
    image that cannot be decoded. So the batch in question is decoded by Pillow, its pipeline built
    again, and the others go on.
    """

    def __init__(self, feeder: Feeder, views: Sequence[View], gpu: Gpu) -> None:
        self.feeder = feeder
        self.views = views
        self.gpu = gpu
        self.idle: deque[Any] = deque([None] * gpu.prefetch)
        self.inside: deque[tuple[_Pending, Any]] = deque()

    def read(self, keys: Keys, *, by_pillow: bool = False) -> _Pending:
        """Reads a batch; the only part that other threads run."""
        read = self.feeder.read(keys, by_pillow=by_pillow)
        seed = self.feeder.reader.seed
        draws = [view.draw(read.sizes, seed, read.epoch, read.indexes) for view in self.views]
        pairs = zip(self.views, draws, strict=True)
        return _Pending(keys, read, draws, [window(area(v, d, read.sizes)) for v, d in pairs])

    def put(self, pending: _Pending) -> None:
        """Starts decoding a batch."""
        self.inside.append((pending, self._start(pending, self.idle.popleft())))

    def get(self) -> tuple[_Pending, list[Tensor]]:
        """The oldest batch, and for each view (n, S, S, 3) uint8 on the device."""
        pending, pipeline = self.inside.popleft()
        try:
            squares = self._squares(pending, pipeline)
        except RuntimeError:
            pending = self.read(pending.keys, by_pillow=True)
            pipeline = self._start(pending, None)
            squares = self._squares(pending, pipeline)
        self.idle.append(pipeline)
        return pending, squares

    def finish(self, pending: _Pending, squares: list[Tensor]) -> Any:
        """A batch as training takes it; None where all of its images are left out."""
        device = self.gpu.device
        made = zip(self.views, squares, pending.draws, strict=False)  # no squares, no views
        views = [v.make(_rows_of(x), draws, device, cropped=True) for v, x, draws in made]
        return self.feeder.batch(pending.read, views, device)

    def _start(self, pending: _Pending, pipeline: Any) -> Any:
        """The pipeline that decodes a batch: the given one, if any."""
        if not pending.read.files:
            return pipeline
        if pipeline is None:
            gpu = self.gpu
            threads = max(1, gpu.threads // gpu.prefetch)
            pipeline = crops(self.views, gpu.batch_size, threads, gpu.device)
        pipeline.feed_input("encoded", pending.read.files)
        for number, (start, end) in enumerate(pending.windows):
            pipeline.feed_input(f"start{number}", start)
            pipeline.feed_input(f"end{number}", end)
        pipeline.schedule_run()
        return pipeline

    def _squares(self, pending: _Pending, pipeline: Any) -> list[Tensor]:
        if not pending.read.files:
            return []
        device = self.gpu.device
        # bound to torch's stream: neither waits for the other, nor reuses memory too early
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        outputs = pipeline.share_outputs(cuda_stream=stream)
        # not copied: DALI's dynamic executor leaves the memory to whoever still refers to it
        views = [torch.from_dlpack(output.as_tensor()) for output in outputs]
        pipeline.release_outputs()
        return views


def stream(
    feeder: Feeder, views: Sequence[View], gpu: Gpu, batches: Iterable[Keys]
) -> Iterator[Any]:
    """Batches in the order in which they are asked for, some of them on their way.

    One thread reads files while the GPU decodes what was read before. It ends with the iteration,
    whoever ends it.

    Args:
        feeder: reads the stored images.
        views: what is made of each of them.
        gpu: where.
        batches: which images form which batch.

    Yields:
        Batches as training takes them; None where all images of one are left out.
    """
    coming = iter(batches)
    pipelines = _Pipelines(feeder, views, gpu)
    read: deque[Future[_Pending]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="mixmask-read") as reader:

        def fill() -> None:
            """Sets both to work; waits for files where nothing else is left to do."""
            while len(read) <= gpu.prefetch and (keys := next(coming, None)) is not None:
                read.append(reader.submit(pipelines.read, keys))
            while read and pipelines.idle and (read[0].done() or not pipelines.inside):
                pipelines.put(read.popleft().result())

        try:
            fill()
            while pipelines.inside:
                decoded = pipelines.get()
                fill()  # before the views are made
                yield pipelines.finish(*decoded)
        finally:
            for future in read:
                future.cancel()


def _rows_of(squares: Tensor) -> Any:
    planes = squares.permute(3, 0, 1, 2)
    return lambda rows: planes.index_select(1, torch.from_numpy(rows).to(squares.device))
