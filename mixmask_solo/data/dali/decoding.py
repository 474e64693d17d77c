# SPDX-License-Identifier: MIT
"""A DALI pipeline on a GPU: decoding and cropping, with several batches inside."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.dali.feeder import Fed, Feeder, Key
from mixmask_solo.data.dali.library import library
from mixmask_solo.data.dali.views import View, window

__all__ = ["Decoding", "Gpu", "Order"]


class Gpu(NamedTuple):
    """Where and how much: device, DALI's threads, batches decoded ahead."""

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
    """A DALI pipeline and the batches that are in it.

    DALI's pipelines do not survive an image that cannot be decoded. Then the batch in question is
    decoded by Pillow, another pipeline is built and everything that was in the old one fed again.

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
        self._pipeline: Any = None
        self._inside: deque[Order] = deque()

    def order(self, keys: list[Key]) -> Order:
        """Reads a batch; the only part that other threads run."""
        return self._ordered(keys, self.feeder.read(keys))

    def put(self, order: Order) -> None:
        """Starts decoding a batch."""
        self._inside.append(order)
        if len(order.fed):
            self._schedule(order)

    def get(self) -> tuple[Order, list[Tensor]]:
        """The oldest batch: for each view (n, S, S, 3) uint8 on the device, memory of its own."""
        order = self._inside.popleft()
        if not len(order.fed):
            return order, []
        try:
            return order, self._outputs()
        except RuntimeError:
            order = self._ordered(order.keys, self.feeder.repaired(order.keys))
        self._pipeline = None
        waiting, self._inside = self._inside, deque()
        self.put(order)
        for other in waiting:
            self.put(other)
        order = self._inside.popleft()
        return order, self._outputs() if len(order.fed) else []

    def _ordered(self, keys: list[Key], fed: Fed) -> Order:
        draws = [v.draw(fed.sizes, self.seed, fed.epoch, fed.indexes) for v in self.views]
        windows = [
            window(view.area(drawn, fed.sizes), view.size, drawn.flip)
            for view, drawn in zip(self.views, draws, strict=True)
        ]
        return Order(keys, fed, draws, windows)

    def _schedule(self, order: Order) -> None:
        if self._pipeline is None:
            self._pipeline = _build(self.views, self.batch_size, self.gpu)
        self._pipeline.feed_input("encoded", order.fed.encoded)
        for number, (start, end) in enumerate(order.windows):
            self._pipeline.feed_input(f"start{number}", start)
            self._pipeline.feed_input(f"end{number}", end)
        self._pipeline.schedule_run()

    def _outputs(self) -> list[Tensor]:
        outputs = self._pipeline.share_outputs()
        views = [torch.from_dlpack(output.as_tensor()).clone() for output in outputs]
        # DALI writes its next batch there as soon as it has it back
        torch.cuda.current_stream(self.gpu.device).synchronize()
        self._pipeline.release_outputs()
        return views


def _build(views: Sequence[View], batch_size: int, gpu: Gpu) -> Any:
    dali = library()
    kinds = {"bicubic": dali.types.INTERP_CUBIC, "bilinear": dali.types.INTERP_LINEAR}
    pipeline = dali.pipeline.Pipeline(
        batch_size=batch_size,
        num_threads=gpu.threads,
        device_id=gpu.device.index,
        prefetch_queue_depth=gpu.prefetch,
    )
    with pipeline:
        encoded = dali.fn.external_source(name="encoded", dtype=dali.types.UINT8, ndim=1)
        images = dali.fn.decoders.image(
            encoded,
            device="mixed",
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
