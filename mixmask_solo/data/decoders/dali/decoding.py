# SPDX-License-Identifier: MIT
"""DALI on a GPU: decoding and cropping, several batches at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.decoders.dali.feeder import Fed, Feeder, Key
from mixmask_solo.data.decoders.dali.library import library
from mixmask_solo.data.decoders.dali.views import View, window

__all__ = ["Decoding", "Gpu", "Order"]


class Gpu(NamedTuple):
    """Where and how much.

    Attributes:
        device: the GPU; the CPU works as well, slower than ``cpu.Batches``, and serves the tests.
        threads: DALI's, of all pipelines together.
        prefetch: batches decoded ahead.
    """

    device: torch.device
    threads: int
    prefetch: int


class Order(NamedTuple):
    """A batch on its way: what was asked for, what is fed, how its views are drawn."""

    keys: list[Key]
    fed: Fed
    draws: list[Draws]
    windows: list[tuple[NDArray[np.float32], NDArray[np.float32]]]


class Decoding:
    """DALI pipelines with one batch inside each.

    As many as there are batches to decode ahead, and not one with a queue: that would take its
    whole queue at once, also where an epoch ends sooner, and DALI's pipelines do not survive an
    image that cannot be decoded. So the batch in question is decoded by Pillow, its pipeline built
    again, and the others go on.

    Args:
        feeder: reads the stored images.
        views: what is made of each of them.
        seed: with (epoch, index, number of the view) it decides each view.
        batch_size: the largest batch.
        gpu: where.
    """

    def __init__(
        self, feeder: Feeder, views: Sequence[View], seed: int, batch_size: int, gpu: Gpu
    ) -> None:
        self.feeder = feeder
        self.views = list(views)
        self.seed = seed
        self.gpu = gpu
        self.batch_size = batch_size
        self._idle: deque[Any] = deque([None] * gpu.prefetch)
        self._inside: deque[tuple[Order, Any]] = deque()

    @property
    def free(self) -> bool:
        """Whether another batch may be put in."""
        return bool(self._idle)

    @property
    def empty(self) -> bool:
        """Whether no batch is inside."""
        return not self._inside

    def order(self, keys: list[Key]) -> Order:
        """Reads a batch; the only part that other threads run."""
        return self._ordered(keys, self.feeder.read(keys))

    def put(self, order: Order) -> None:
        """Starts decoding a batch."""
        pipeline = self._idle.popleft()
        self._inside.append((order, self._start(order, pipeline)))

    def get(self) -> tuple[Order, list[Tensor]] | None:
        """The oldest batch, and for each view (n, S, S, 3) uint8 on the device; None if empty."""
        if not self._inside:
            return None
        order, pipeline = self._inside.popleft()
        try:
            views = _outputs(order, pipeline, self.gpu.device)
        except RuntimeError:
            order = self._ordered(order.keys, self.feeder.repaired(order.keys))
            pipeline = self._start(order, None)
            views = _outputs(order, pipeline, self.gpu.device)
        self._idle.append(pipeline)
        return order, views

    def _ordered(self, keys: list[Key], fed: Fed) -> Order:
        draws = [v.draw(fed.sizes, self.seed, fed.epoch, fed.indexes) for v in self.views]
        windows = [
            window(view.area(drawn, fed.sizes), view.size, drawn.flip)
            for view, drawn in zip(self.views, draws, strict=True)
        ]
        return Order(keys, fed, draws, windows)

    def _start(self, order: Order, pipeline: Any) -> Any:
        """The pipeline that decodes a batch: the given one, if any."""
        if not len(order.fed):
            return pipeline
        if pipeline is None:
            pipeline = _build(self.views, self.batch_size, self.gpu)
        pipeline.feed_input("encoded", order.fed.encoded)
        for number, (start, end) in enumerate(order.windows):
            pipeline.feed_input(f"start{number}", start)
            pipeline.feed_input(f"end{number}", end)
        pipeline.schedule_run()
        return pipeline


def _outputs(order: Order, pipeline: Any, device: torch.device) -> list[Tensor]:
    if not len(order.fed):
        return []
    # bound to torch's stream: neither waits for the other, nor reuses memory too early
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
    outputs = pipeline.share_outputs(cuda_stream=stream)
    # not copied: DALI's dynamic executor leaves the memory to whoever still refers to it
    views = [torch.from_dlpack(output.as_tensor()) for output in outputs]
    pipeline.release_outputs()
    return views


def _build(views: Sequence[View], batch_size: int, gpu: Gpu) -> Any:
    dali = library()
    on_gpu = gpu.device.type == "cuda"
    kinds = {"bicubic": dali.types.INTERP_CUBIC, "bilinear": dali.types.INTERP_LINEAR}
    pipeline = dali.pipeline.Pipeline(
        batch_size=batch_size,
        num_threads=max(1, gpu.threads // gpu.prefetch),
        device_id=gpu.device.index if on_gpu else None,
        prefetch_queue_depth=1,
        exec_dynamic=True,
    )
    with pipeline:
        encoded = dali.fn.external_source(name="encoded", dtype=dali.types.UINT8, ndim=1)
        images = dali.fn.decoders.image(
            encoded,
            device="mixed" if on_gpu else "cpu",
            output_type=dali.types.RGB,
            adjust_orientation=False,  # Pillow ignores EXIF too
            jpeg_fancy_upsampling=True,
        )
        outputs = []
        for number, view in enumerate(views):
            start, end = (
                dali.fn.external_source(name=f"{name}{number}", dtype=dali.types.FLOAT, ndim=1)
                for name in ("start", "end")
            )
            cropped = dali.fn.resize(
                images,
                size=(view.size, view.size),
                roi_start=start,
                roi_end=end,
                interp_type=kinds[view.kernel],
                antialias=True,
                dtype=dali.types.UINT8,
            )
            outputs.append(cropped)
        pipeline.set_outputs(*outputs)
    pipeline.build()
    return pipeline
