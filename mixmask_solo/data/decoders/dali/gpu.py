# SPDX-License-Identifier: MIT
"""DALI on a GPU: decoding and cropping there, several batches ahead of training."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.batched.plan import to_device
from mixmask_solo.data.decoders.dali.feeder import Area, EncodedBatch, Feeder, Keys
from mixmask_solo.data.decoders.dali.pipelines import crops


class Gpu(NamedTuple):
    """Where and how much."""

    device: torch.device  # the CPU works as well, slower than cpu.Decoded, and serves the tests
    threads: int  # DALI's, of all pipelines together
    prefetch: int  # batches decoded ahead
    batch_size: int  # the largest
    readers: int = 1  # threads that read files
    hw_load: float = 0.65  # share of the images for the GPU's JPEG decoder, if it has one


class _Pipelines:
    """DALI pipelines with one batch inside each.

    Not one pipeline with a queue, which would take its whole queue at once, also where an epoch
    ends sooner. None survives an image that cannot be decoded: Pillow decodes that batch, its
    pipeline is built again, and the others go on.
    """

    def __init__(self, feeder: Feeder, gpu: Gpu, built: Iterable[Any]) -> None:
        self.feeder = feeder
        self.gpu = gpu
        self.idle: deque[Any] = deque(built)
        self.idle += [None] * (gpu.prefetch - len(self.idle))
        self.inside: deque[tuple[EncodedBatch, Any]] = deque()

    def put(self, read: EncodedBatch) -> None:
        """Starts decoding a batch."""
        self.inside.append((read, self._start(read, self.idle.popleft())))

    def get(self) -> tuple[EncodedBatch, list[Tensor]]:
        """The oldest batch, and for each view (n, S, S, 3) uint8 on the device."""
        read, pipeline = self.inside.popleft()
        try:
            squares = self._squares(read, pipeline)
        except RuntimeError:
            read = self.feeder.read(read.keys, by_pillow=True)
            pipeline = self._start(read, None)
            squares = self._squares(read, pipeline)
        self.idle.append(pipeline)
        return read, squares

    def finish(self, read: EncodedBatch, squares: list[Tensor]) -> Any:
        """A batch as training takes it, see :meth:`Feeder.batch`."""
        device = self.gpu.device
        views = [
            area.view.make(_rows_of(square), area.draws, device, cropped=True)
            for area, square in zip(read.areas, squares, strict=False)  # no squares, no views
        ]
        return self.feeder.batch(read, views, device)

    def _start(self, read: EncodedBatch, pipeline: Any) -> Any:
        """The pipeline that decodes a batch: the given one, if any."""
        if not read.files:
            return pipeline
        # Copies: feeding takes one of the bytes and corners, so those of ``read`` may go, and DALI
        # sends it on by streams of its own. Views are made on torch's stream, which waits there for
        # DALI's (see _squares); what they take along goes through pinned memory that torch gives
        # to nobody else until that stream is past it.
        if pipeline is None:
            gpu = self.gpu
            threads = max(1, gpu.threads // gpu.prefetch)
            pipeline = crops(self.feeder.views, gpu.batch_size, threads, gpu.device, gpu.hw_load)
        pipeline.feed_input("encoded", read.files)
        for number, area in enumerate(read.areas):
            for name, corners in zip(("start", "end"), _window(area), strict=True):
                pipeline.feed_input(f"{name}{number}", corners)
        pipeline.schedule_run()
        return pipeline

    def _squares(self, read: EncodedBatch, pipeline: Any) -> list[Tensor]:
        if not read.files:
            return []
        device = self.gpu.device
        # bound to torch's stream: neither waits for the other, nor reuses memory too early
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        outputs = pipeline.share_outputs(cuda_stream=stream)
        # not copied: DALI's dynamic executor leaves the memory to whoever still refers to it
        views = [torch.from_dlpack(output.as_tensor()) for output in outputs]
        pipeline.release_outputs()
        return views


class Stream:
    """Batches as training takes them, see :meth:`Feeder.batch`, in the order asked for.

    Threads read files while the GPU decodes what was read before. They end with the iteration,
    whoever ends it; pipelines, but for those that still decode then, stay for the next one.
    """

    def __init__(self, feeder: Feeder, gpu: Gpu) -> None:
        self.feeder = feeder
        self.gpu = gpu
        self._built: list[Any] = []

    def __call__(self, batches: Iterable[Keys]) -> Iterator[Any]:
        feeder, gpu, coming = self.feeder, self.gpu, iter(batches)
        # taken away: another iteration at the same time has its own
        pipelines, self._built = _Pipelines(feeder, gpu, self._built), []
        waiting: deque[Future[EncodedBatch]] = deque()
        threads = ThreadPoolExecutor(gpu.readers, thread_name_prefix="mixmask-read")
        with feeder.sharing(), threads as readers:

            def fill() -> None:
                """Sets both to work; waits for files where nothing else is left to do."""
                room = gpu.prefetch + gpu.readers
                while len(waiting) < room and (keys := next(coming, None)) is not None:
                    waiting.append(readers.submit(feeder.read, keys))
                while waiting and pipelines.idle and (waiting[0].done() or not pipelines.inside):
                    pipelines.put(waiting.popleft().result())

            try:
                fill()
                while pipelines.inside:
                    decoded = pipelines.get()
                    fill()  # before the views are made
                    batch = pipelines.finish(*decoded)
                    del decoded  # no memory of DALI's is held while others run, or fork
                    yield batch
            finally:
                for future in waiting:
                    future.cancel()
                self._built = [pipeline for pipeline in pipelines.idle if pipeline is not None]


def _window(area: Area) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """First and last row and column, (n, 2) each, of a resize straight to the shown square.

    In pixels of the stored image; of a mirrored one the columns the other way round.
    """
    size, box, flip = area.view.size, area.draws.box, area.draws.flip
    scale = box[:, 2:] / area.fit
    start = box[:, :2] + scale * np.rint((area.fit - size) / 2.0)
    end = start + scale * size
    start[flip, 1], end[flip, 1] = end[flip, 1].copy(), start[flip, 1].copy()
    return start.astype(np.float32), end.astype(np.float32)


def _rows_of(squares: Tensor) -> Any:
    planes = squares.permute(3, 0, 1, 2)
    return lambda rows: planes.index_select(1, to_device(rows, squares.device))
