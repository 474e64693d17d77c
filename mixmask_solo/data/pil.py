# SPDX-License-Identifier: MIT
"""The decoder for everything: Pillow and torchvision's transforms, in worker processes."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader
from torchvision import transforms

from mixmask_solo.config import ConfigError
from mixmask_solo.data.augmentations import Pipeline, build_all
from mixmask_solo.data.block import get
from mixmask_solo.data.loading import EpochLoader
from mixmask_solo.data.module import ImageData
from mixmask_solo.data.samples import Augmented, Views
from mixmask_solo.data.standard import probe_training, unaugmented

__all__ = ["ClassificationData", "PretrainData", "build_classification", "build_pretrain"]


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
        return EpochLoader(dataset, self.batches(), self.workers(self.opened))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """This process' share of the validation images; an empty list where there are none."""
        self.setup()
        if self.val_source is None:
            return []
        return self.plain(self.val_source, self.test_transform, shard=True)

    def features_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """All labelled training and all validation images, un-augmented, for k-NN."""
        return _features(self, self.test_transform)


class ClassificationData(ImageData):
    """Labelled images for a probe; batches are ``[x (N, 3, H, W), targets (N,)]``.

    Size and statistics are those of ``data.augmentations`` (``crop_size``, ``mean``, ``std``),
    else of the first entry of ``augmentations``, with which the network was pretrained, else of
    the data set.

    Args:
        cfg: the configuration.

    Raises:
        ConfigError: for anything wrong in the keys it reads.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg, "train")
        view = _first_view(get(cfg, "augmentations")) | get(cfg, "data.augmentations", {})
        self.size = int(view.get("crop_size") or self.dataset.size)
        self.mean = tuple(view.get("mean") or self.dataset.mean)
        self.std = tuple(view.get("std") or self.dataset.std)

    @property
    def test_transform(self) -> transforms.Compose:
        """The un-augmented image."""
        return unaugmented(self.dataset, self.size, self.mean, self.std)

    def train_dataloader(self) -> EpochLoader:
        """Randomly cropped training images; the last incomplete batch is dropped."""
        transform = probe_training(self.dataset, self.size, self.mean, self.std)
        dataset = Augmented(self.opened, transform, self.seed, self.tolerance)
        return EpochLoader(dataset, self.batches(), self.workers(self.opened))

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """This process' share of the validation images; an empty list where there are none."""
        self.setup()
        if self.val_source is None:
            return []
        return self.plain(self.val_source, self.test_transform, shard=True)

    def features_dataloaders(self) -> tuple[DataLoader[Any], DataLoader[Any]]:
        """All training and all validation images, un-augmented, for k-NN."""
        return _features(self, self.test_transform)


def build_pretrain(cfg: Any) -> PretrainData:
    """The data of a pretraining run.

    Args:
        cfg: a pretraining configuration.

    Raises:
        ConfigError: for anything wrong in the keys it reads; files are looked at in ``setup``.
    """
    return PretrainData(cfg)


def build_classification(cfg: Any) -> ClassificationData:
    """The data of a probe.

    Args:
        cfg: a configuration of a probe, or that of the pretraining.

    Raises:
        ConfigError: for anything wrong in the keys it reads; files are looked at in ``setup``.
    """
    return ClassificationData(cfg)


def _first_view(augmentations: Any) -> dict[str, Any]:
    if isinstance(augmentations, list) and augmentations and isinstance(augmentations[0], dict):
        return augmentations[0]
    return {}


def _features(
    data: ImageData, transform: transforms.Compose
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    train = data.opened
    if data.val_source is None:
        raise ConfigError("data.val_path is missing: an evaluation needs validation images")
    return (
        data.plain(train, transform, shard=False),
        data.plain(data.val_source, transform, shard=False),
    )
