# SPDX-License-Identifier: MIT
"""What the data modules of all decoders share: splits, processes, workers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, default_collate

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.data.block import data_block, get
from mixmask_solo.data.decoders.samples import Plain, Transform
from mixmask_solo.data.labels import labelled, refusal, share, tell, uncounted
from mixmask_solo.data.order.loading import EpochLoader, plain_loader, worker_count
from mixmask_solo.data.order.position import position
from mixmask_solo.data.order.sampler import EpochBatches, Shard
from mixmask_solo.data.sources import Source, Split, read
from mixmask_solo.data.tolerance import tolerance

__all__ = ["ImageData"]

SOLO_LEARNS_SEED = 5


class ImageData(LightningDataModule):
    """Opens the training and the validation split of a configuration.

    ``setup`` may be called ahead of a trainer, to fail early on what is missing.

    Args:
        cfg: the configuration; ``data``, ``optimizer.batch_size`` and ``seed`` are read here.
        split: what training reads, ``pretrain`` or ``train``.

    Raises:
        ConfigError: for a missing or unknown data set or a batch size that cannot be.
    """

    def __init__(self, cfg: Any, split: Split) -> None:
        super().__init__()
        self.block = data_block(cfg)
        self.dataset = info(self.block["dataset"])
        self.split = split
        self.seed = int(get(cfg, "seed", SOLO_LEARNS_SEED))
        self.batch_size = _batch_size(get(cfg, "optimizer.batch_size"))
        self.disable_channel_last = bool(get(cfg, "performance.disable_channel_last", False))
        self.tolerance = tolerance(self.block, self.dataset)
        self.train_source: Source | None = None
        self.val_source: Source | None = None
        self.train_labels = "all"  # or some, or none, of the training images have one
        self._uncounted: Source | None = None
        worker_count(self.block.get("num_workers"))

    def setup(self, stage: str | None = None) -> None:
        """Opens both splits, once.

        Images without a label are left out wherever there is nothing to do with them: of the
        validation images, and of a probe's and k-NN's training images.

        Raises:
            ConfigError: when images are missing, or no image of a probe or k-NN has a label.
        """
        if self.train_source is not None:
            return
        train = read(self.block, self.split)
        assert train is not None, "only a val split may be absent"
        if self.split == "pretrain":
            tell(train, "data.train_path")
            self.train_labels = share(train)
        else:
            train = self._required(train, "train_path")
        if self.train_labels != "none":  # else there is no class to recognise
            val = read(self.block, "val", classes=train.classes or None)
            if val is not None and self.split == "pretrain":
                val = labelled(val, "data.val_path")
            elif val is not None:
                val = self._required(val, "val_path")
            self.val_source = val
        self.train_source = train

    def _required(self, source: Source, key: str) -> Source:
        if share(source) == "none":
            raise refusal(source, f"data.{key}", self.block.get(key))
        found = labelled(source, f"data.{key}")
        assert found is not None
        return found

    def teardown(self, stage: str) -> None:
        """Shares among all training processes which images could not be read."""
        self.tolerance.gather()

    @property
    def num_classes(self) -> int:
        """Number of classes: the data set's, or that of the training images; 1 without labels."""
        if self.block.get("no_labels"):
            return 1
        return self.dataset.num_classes or self.opened.num_classes

    @property
    def opened(self) -> Source:
        """The training split; opens it if nobody did."""
        self.setup()
        return cast(Source, self.train_source)

    @property
    def place(self) -> tuple[int, int]:
        """(rank, number of processes)."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    @property
    def processes(self) -> int:
        """Training processes of this machine."""
        return 1 if self.trainer is None else max(1, self.trainer.num_devices)

    @property
    def device(self) -> torch.device:
        """Where training runs; the CPU while there is no trainer."""
        strategy = getattr(self.trainer, "strategy", None)
        return torch.device("cpu") if strategy is None else torch.device(strategy.root_device)

    @property
    def channels_last(self) -> bool:
        """Whether views have the memory format that convolutions on a GPU are fastest with."""
        return self.device.type == "cuda" and not self.disable_channel_last

    def batches(self) -> EpochBatches:
        """The training batches of this process; epoch and start follow the trainer, if any."""
        self._require_a_batch(self.opened)
        rank, world = self.place
        return EpochBatches(
            self.opened,
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            last=self.block.get("last_batch") or "drop",
            position=self._position if self.trainer is not None else None,
        )

    @abstractmethod
    def in_order(self, source: Source, *, shard: bool) -> Any:
        """A loader of ``[x, targets]``, un-augmented, in order: of this process' share or all."""

    def val_dataloader(self) -> Any:
        """This process' share of the validation images; an empty list where there are none."""
        self.setup()
        if self.val_source is None:
            return []
        if self.place[0] < len(self.val_source):
            return self.in_order(self.val_source, shard=True)
        # the others wait for this process where sums are made, so it has to take part
        self._uncounted = self._uncounted or uncounted(self.val_source)
        return self.in_order(self._uncounted, shard=False)

    def features_dataloaders(self) -> tuple[Any, Any]:
        """All training and all validation images, un-augmented, for k-NN.

        Raises:
            ConfigError: without validation images.
        """
        train = self.opened
        if self.val_source is None:
            raise ConfigError("data.val_path is missing: an evaluation needs validation images")
        return self.in_order(train, shard=False), self.in_order(self.val_source, shard=False)

    def workers(self, source: Source) -> int:
        """Number of workers for a loader of ``source``, which is loaded as far as they share it."""
        count = worker_count(self.block.get("num_workers"), self.processes)
        if count:
            source.warm()
        return count

    def epochs(
        self, dataset: Dataset[Any], collate: Callable[[Any], Any] = default_collate
    ) -> EpochLoader:
        """A loader of training batches with workers, sent to the device one step ahead."""
        return EpochLoader(
            dataset,
            self.batches(),
            self.workers(self.opened),
            collate,
            device=self.device,
            channels_last=self.channels_last,
        )

    def plain(self, source: Source, transform: Transform, *, shard: bool) -> DataLoader[Any]:
        """A loader of un-augmented images in order, of this process' share or of all."""
        sampler = Shard(source, *self.place) if shard else None
        dataset = Plain(source, transform, self.tolerance)
        return plain_loader(dataset, self.batch_size, self.workers(source), sampler)

    def _position(self) -> tuple[int, int]:
        assert self.trainer is not None
        return position(self.trainer)

    def _require_a_batch(self, source: Source) -> None:
        world = self.place[1]
        if len(source) < self.batch_size * world:
            where = f" in each of {world} processes" if world > 1 else ""
            raise ConfigError(
                f"optimizer.batch_size is {self.batch_size}{where}, but there are only "
                f"{len(source)} training images: give at most {len(source) // world}"
            )


def _batch_size(value: Any) -> int:
    if value is None:
        raise ConfigError("optimizer.batch_size is missing: give a whole number, at least 1")
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"optimizer.batch_size is {value!r}: give a whole number, at least 1")
    return value
