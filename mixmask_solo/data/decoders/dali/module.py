# SPDX-License-Identifier: MIT
"""The data modules of ``data.format: dali``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data.block import get
from mixmask_solo.data.decoders.dali.cpu import Batches, guard
from mixmask_solo.data.decoders.dali.decoding import Gpu
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.gpu import GpuEpochLoader, GpuPlainLoader
from mixmask_solo.data.decoders.dali.library import library
from mixmask_solo.data.decoders.dali.verified import Verified
from mixmask_solo.data.decoders.dali.views import View, augmented, probing, unaugmented
from mixmask_solo.data.decoders.pil import ClassificationData, PretrainData
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.loading import plain_loader, worker_count
from mixmask_solo.data.order.sampler import Shard
from mixmask_solo.data.sources import Source

__all__ = ["DaliClassification", "DaliPretrain"]


def _same(batch: Any) -> Any:
    return batch


class _Dali(ImageData):
    """Loaders of batches that DALI decodes, on the device that ``dali.device`` names."""

    device_key: str
    prefetch: int
    verify: bool
    _verified: dict[int, Verified]

    def _read_device(self, cfg: Any) -> None:
        library()
        device = get(cfg, "dali.device", "auto")
        if device not in ("auto", "gpu", "cpu"):
            raise ConfigError(f"dali.device is {device!r}: choose auto, gpu or cpu")
        if device == "gpu" and not torch.cuda.is_available():
            raise ConfigError("dali.device is 'gpu', but there is no CUDA device: choose cpu")
        self.device_key = device
        self.prefetch = int(get(cfg, "dali.prefetch", 2))
        self.verify = bool(get(cfg, "dali.verify", True))
        self._verified = {}

    @property
    def on_gpu(self) -> bool:
        """Where images are decoded; by itself, there where training runs."""
        if self.device_key != "auto":
            return self.device_key == "gpu"
        here = self.trainer is None or self.device.type == "cuda"
        return here and torch.cuda.is_available()

    def training(self, views: Sequence[View], *, labelled: bool) -> Any:
        """The batches of an epoch."""
        source = self.opened
        batches = self.batches()
        feeder = self._feeder(source, training=True)
        if self.on_gpu:
            return GpuEpochLoader(feeder, views, batches, self._gpu(), labelled=labelled)
        dataset = Batches(feeder, views, self.seed, labelled=labelled)
        return guard(self.epochs(dataset, collate=_same))

    def ordered(self, source: Source, view: View, *, shard: bool) -> Any:
        """Un-augmented images in order, of this process' share or of all."""
        feeder = self._feeder(source, training=False)
        indexes = Shard(source, *(self.place if shard else (0, 1)))
        if self.on_gpu:
            return GpuPlainLoader(feeder, view, indexes, self.batch_size, self._gpu())
        dataset = Batches(feeder, [view], self.seed, labelled=True)
        workers = self.workers(source)
        return guard(plain_loader(dataset, self.batch_size, workers, indexes, _same))

    def _feeder(self, source: Source, *, training: bool) -> Feeder:
        verified = None
        if self.verify:
            verified = self._verified.setdefault(id(source), Verified(len(source)))
        return Feeder(source, self.seed, self.tolerance, training=training, verified=verified)

    def _gpu(self) -> Gpu:
        """Which device, and with how many threads: those of the loader's workers elsewhere."""
        threads = max(1, worker_count(self.block.get("num_workers"), self.processes))
        index = self.device.index if self.device.type == "cuda" else None
        device = torch.device("cuda", torch.cuda.current_device() if index is None else index)
        return Gpu(device, threads, self.prefetch)


class DaliPretrain(_Dali, PretrainData):
    """Views for pretraining; batches are those of ``PretrainData``.

    Args:
        cfg: the configuration; ``dali`` is read besides the keys of ``PretrainData``.

    Raises:
        ConfigError: for anything wrong in those keys, and where DALI is not installed.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self._read_device(cfg)
        augmented(self.pipelines)

    def train_dataloader(self) -> Any:
        """The views of each image."""
        views = augmented(self.pipelines, channels_last=self.channels_last and self.on_gpu)
        return self.training(views, labelled=False)

    def in_order(self, source: Source, *, shard: bool) -> Any:
        first = self.pipelines[0]
        view = unaugmented(self.dataset, first.crop_size, first.mean, first.std)
        return self.ordered(source, view, shard=shard)


class DaliClassification(_Dali, ClassificationData):
    """Labelled images for a probe; batches are those of ``ClassificationData``.

    Args:
        cfg: the configuration; ``dali`` is read besides the keys of ``ClassificationData``.

    Raises:
        ConfigError: for anything wrong in those keys, and where DALI is not installed.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self._read_device(cfg)

    def train_dataloader(self) -> Any:
        """Randomly cropped training images, in full batches."""
        view = probing(self.dataset, self.size, self.mean, self.std)
        return self.training([view], labelled=True)

    def in_order(self, source: Source, *, shard: bool) -> Any:
        view = unaugmented(self.dataset, self.size, self.mean, self.std)
        return self.ordered(source, view, shard=shard)
