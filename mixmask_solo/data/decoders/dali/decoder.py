# SPDX-License-Identifier: MIT
"""Loaders of batches that DALI decodes, on the device that ``dali.device`` names."""

from typing import Any

import torch
from torch.utils.data import BatchSampler

from mixmask_solo.config import ConfigError, check
from mixmask_solo.config.check import get
from mixmask_solo.config.schema.run import DaliOptions
from mixmask_solo.data.batched.views import require_draws, unaugmented_view, views_of
from mixmask_solo.data.decoders.dali.cpu import BatchLoader, Decoded
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.gpu import Gpu, Stream
from mixmask_solo.data.decoders.dali.pipelines import library
from mixmask_solo.data.decoders.dali.verified import Verified, cache_folder
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.loading import Batches, DirectLoader, WorkerLoader, as_it_is
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.order.workers import core_share
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tasks import Task
from mixmask_solo.data.tolerance import Reader

_READERS = 4  # at most, unless dali.readers asks for more


class Dali:
    """``data.format: dali``, see :class:`mixmask_solo.data.module.Decoder`.

    Raises:
        ConfigError: for a pipeline that exists for single images only or does not crop first, for
            wrong keys of ``dali``, and where DALI is not installed.
    """

    title = "DALI"

    def __init__(self, cfg: Any, task: Task) -> None:
        library()
        self.options = check(get(cfg, "dali"), DaliOptions, "dali")
        self._verified: dict[Reader, Verified] = {}
        if self.options.device == "gpu" and not torch.cuda.is_available():
            raise ConfigError("dali.device is 'gpu', but there is no CUDA device: choose cpu")
        require_draws(task.pipelines, "data.format dali", "data.format image_folder")
        for pipeline in task.pipelines:
            if pipeline.colour_first:
                raise ConfigError(
                    f"{pipeline.key}.order is colour_first: data.format dali decodes no more of an "
                    "image than its crops; choose order crop_first, or data.format resident or "
                    "image_folder"
                )

    def on_gpu(self, data: ImageData) -> bool:
        """Whether images are decoded on a GPU; by itself, where the network is."""
        if self.options.device != "auto":
            return self.options.device == "gpu"
        return data.device.type == "cuda"

    def training(self, data: ImageData, batches: EpochBatches) -> DirectLoader | WorkerLoader:
        on_gpu = self.on_gpu(data)
        views = views_of(data.pipelines, channels_last=data.channels_last and on_gpu)
        reader, labelled = data.reader(data.opened), data.task.labelled
        feeder = Feeder(reader, views, training=True, labelled=labelled, **self._looked(reader))
        if on_gpu:
            return self._on_gpu(data, feeder, batches)
        return self._in_workers(data, feeder, batches, channels_last=data.channels_last)

    def in_order(
        self, data: ImageData, source: Source, batches: BatchSampler
    ) -> DirectLoader | WorkerLoader:
        views, reader = [unaugmented_view(data.task)], data.reader(source)
        feeder = Feeder(reader, views, training=False, labelled=True, **self._looked(reader))
        make = self._on_gpu if self.on_gpu(data) else self._in_workers
        return make(data, feeder, batches)

    def _looked(self, reader: Reader) -> dict[str, Any]:
        """The same for all loaders; what Pillow has not looked at is no news for other runs."""
        verify = self.options.verify
        if reader not in self._verified:
            folder = cache_folder(self.options.cache) if verify else None
            self._verified[reader] = Verified(reader.source, folder)
        return {"verified": self._verified[reader], "verify": verify}

    def _in_workers(
        self, data: ImageData, feeder: Feeder, batches: Batches, **form: Any
    ) -> WorkerLoader:
        workers = data.workers(feeder.reader.source)
        made = Decoded(feeder)
        return BatchLoader(made, batches, workers, as_it_is, device=data.device, **form)

    def _on_gpu(self, data: ImageData, feeder: Feeder, batches: Batches) -> DirectLoader:
        """DALI has as many threads as the loader has workers elsewhere."""
        options = self.options
        auto = max(1, min(_READERS, core_share(data.processes) // 2))
        readers = options.readers if isinstance(options.readers, int) else auto
        threads = max(1, data.worker_count)
        index = data.device.index if data.device.type == "cuda" else None
        device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        load = options.hw_decoder_load
        gpu = Gpu(device, threads, options.prefetch, data.batch_size, readers, load)
        return DirectLoader(feeder.reader, batches, Stream(feeder, gpu))
