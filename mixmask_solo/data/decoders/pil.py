# SPDX-License-Identifier: MIT
"""The decoder for everything: Pillow and torchvision's transforms, in worker processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torchvision import transforms

from mixmask_solo.config import ConfigError
from mixmask_solo.data.augmentations import Pipeline, build_all
from mixmask_solo.data.augmentations.standard import probe_training, unaugmented
from mixmask_solo.data.block import get
from mixmask_solo.data.decoders.samples import Augmented, Views
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.order.loading import EpochLoader
from mixmask_solo.data.sources import Source

__all__ = ["ClassificationData", "PretrainData"]


class PretrainData(ImageData):
    """Views for pretraining, and un-augmented images for the online classifier.

    Training batches are ``[indexes (N,), [view_1, ..., view_V] each (N, 3, H, W), targets (N,)]``,
    validation batches ``[x (N, 3, H, W), targets (N,)]``; images are float32, normalised alike.

    Args:
        cfg: the configuration; ``augmentations`` is read besides the keys of ``ImageData``.

    Raises:
        ConfigError: for anything wrong in those keys.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg, "pretrain")
        self.pipelines: list[Pipeline] = build_all(get(cfg, "augmentations"), self.dataset)

    @property
    def test_transform(self) -> transforms.Compose:
        """The un-augmented image at the size and with the statistics of the first view."""
        first = self.pipelines[0]
        return unaugmented(self.dataset, first.crop_size, first.mean, first.std)

    def train_dataloader(self) -> EpochLoader:
        """The views of each image."""
        dataset = Views(self.opened, self.pipelines, self.seed, self.tolerance)
        return self.epochs(dataset)

    def in_order(self, source: Source, *, shard: bool) -> Any:
        return self.plain(source, self.test_transform, shard=shard)


class ClassificationData(ImageData):
    """Labelled images for a probe; batches are ``[x (N, 3, H, W), targets (N,)]``.

    Size and statistics are those of ``data.augmentations`` (``crop_size``, ``mean``, ``std``),
    else of the first entry of ``augmentations``, with which the network was pretrained, else of
    the data set. Its ``resize`` and ``interpolation`` replace the data set's usual ones.

    Args:
        cfg: the configuration.

    Raises:
        ConfigError: for anything wrong in the keys it reads.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg, "train")
        own = get(cfg, "data.augmentations", {})
        fit = {key: own.get(key) for key in ("resize", "interpolation")}
        self.dataset = replace(self.dataset, **fit)
        view = _first_view(get(cfg, "augmentations")) | own
        self.size = int(view.get("crop_size") or self.dataset.size)
        if (self.dataset.resize or self.size) < self.size:
            raise ConfigError(
                f"data.augmentations.resize is {self.dataset.resize}: the images' centre of "
                f"{self.size} pixels is cut out of it; give at least {self.size}"
            )
        self.mean = tuple(view.get("mean") or self.dataset.mean)
        self.std = tuple(view.get("std") or self.dataset.std)

    @property
    def test_transform(self) -> transforms.Compose:
        """The un-augmented image."""
        return unaugmented(self.dataset, self.size, self.mean, self.std)

    def train_dataloader(self) -> EpochLoader:
        """Randomly cropped training images, in full batches."""
        transform = probe_training(self.dataset, self.size, self.mean, self.std)
        dataset = Augmented(self.opened, transform, self.seed, self.tolerance)
        return self.epochs(dataset)

    def in_order(self, source: Source, *, shard: bool) -> Any:
        return self.plain(source, self.test_transform, shard=shard)


def _first_view(augmentations: Any) -> dict[str, Any]:
    if isinstance(augmentations, list) and augmentations and isinstance(augmentations[0], dict):
        return augmentations[0]
    return {}
