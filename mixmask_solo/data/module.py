# SPDX-License-Identifier: MIT
"""Images for a Lightning trainer: a task and a decoder, put together."""

from typing import Any, Protocol, cast

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import BatchSampler

from mixmask_solo.config import ConfigError, check
from mixmask_solo.config.check import get
from mixmask_solo.config.datasets import data_block
from mixmask_solo.config.option import convert
from mixmask_solo.config.schema.data import Data
from mixmask_solo.data.labels import labelled, refusal, share, uncounted
from mixmask_solo.data.order.sampler import EpochBatches, Shard, position
from mixmask_solo.data.order.workers import worker_count
from mixmask_solo.data.sources import Source, read
from mixmask_solo.data.sources.base import UNLABELLED
from mixmask_solo.data.sources.heldout import hold_out
from mixmask_solo.data.stage import staged
from mixmask_solo.data.tasks import Task
from mixmask_solo.data.tolerance import Reader, Tolerance


class Decoder(Protocol):
    """Makes batches of encoded images; what each is made into, ``data.task`` says."""

    title: str  # who decodes, in words

    def training(self, data: "ImageData", batches: EpochBatches) -> Any:
        """A loader of these batches of ``data.opened``, which has them as ``batches``."""

    def in_order(self, data: "ImageData", source: Source, batches: BatchSampler) -> Any:
        """A loader of these batches of a source, ``[x, targets]`` each, un-augmented."""


class ImageData(LightningDataModule):
    """Opens the training and the validation split of a configuration.

    ``setup`` may be called ahead of a trainer, to fail early on what is missing.

    Raises:
        ConfigError: for values of ``data`` that its schema refuses, or an impossible batch size.
    """

    def __init__(self, cfg: Any, task: Task, decoder: Decoder) -> None:
        super().__init__()
        self.block = data_block(cfg)
        # a resolved block holds further keys, and a probe's last batch may be kept
        known = self.block | {"last_batch": None}
        self.options = check(known, Data, "data", extra=self.block)
        self.task = task
        self.decoder = decoder
        self.pipelines = task.pipelines
        self.seed = int(get(cfg, "seed", 5))
        self.network_device = torch.device("cpu")  # as long as there is no trainer
        key = "optimizer.batch_size"
        self.batch_size = convert(get(cfg, key), int, key, {"low": 1})
        self.disable_channel_last = bool(get(cfg, "performance.disable_channel_last", False))
        self.tolerance = Tolerance(
            self.options.on_error,
            self.options.max_errors,
            mean=task.dataset.mean,
            size=task.dataset.size,
        )
        self.train_source: Source | None = None
        self.val_source: Source | None = None
        self.held_out: Source | None = None  # of the training split, see `task.holdout`
        self.train_labels = "all"  # or some, or none, of the training images have one
        self._uncounted: dict[int, Source] = {}
        self._readers: dict[int, Reader] = {}

    def setup(self, stage: str | None = None) -> None:
        """Opens both splits, once.

        Images without a label are left out wherever there is nothing to do with them: of the
        validation images, and of a probe's and k-NN's training images.

        Raises:
            ConfigError: when images are missing, or no image of a probe or k-NN has a label.
        """
        if self.train_source is not None:
            return
        block = staged(self.block)
        choose = self.task.choose
        train = read(block if choose is None else {**block, "fraction": None}, self.task.split)
        assert train is not None, "only a val split may be absent"
        if self.task.labelled:
            train = cast(Source, self._labelled(train, "train_path"))
            train = train if choose is None else choose(train)
        else:
            self.train_labels = share(train, "data.train_path")
        if self.train_labels != "none":  # else there is no class to recognise
            val = read(block, "val", classes=train.classes or None)
            self.val_source = None if val is None else self._labelled(val, "val_path")
        if self.task.holdout is not None:
            train, self.held_out = hold_out(train, self.task.holdout, self.seed)
        self.train_source = train

    def _labelled(self, source: Source, key: str) -> Source | None:
        if self.task.labelled and (source.labels == UNLABELLED).all():
            raise refusal(source, f"data.{key}", self.block.get(key))
        return labelled(source, f"data.{key}")

    def teardown(self, stage: str) -> None:
        self.tolerance.gather()

    @property
    def num_classes(self) -> int:
        """Number of classes: the data set's, or that of the training images; 1 without labels."""
        if self.options.no_labels:
            return 1
        return self.task.dataset.num_classes or self.opened.num_classes

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
        """Where the network runs."""
        strategy = getattr(self.trainer, "strategy", None)
        return self.network_device if strategy is None else torch.device(strategy.root_device)

    @property
    def channels_last(self) -> bool:
        """Whether views have the memory format that convolutions on a GPU are fastest with."""
        return self.device.type == "cuda" and not self.disable_channel_last

    def batches(self) -> EpochBatches:
        """The training batches of this process; epoch and start follow the trainer, if any.

        Raises:
            ConfigError: where the images are too few for one batch.
        """
        rank, world = self.place
        trainer = self.trainer
        return self._batches(rank, world, None if trainer is None else lambda: position(trainer))

    def steps(self, world: int) -> int:
        """Batches of an epoch in each of ``world`` processes; raises what :meth:`batches` does."""
        return len(self._batches(0, world, None))

    def _batches(self, rank: int, world: int, position: Any) -> EpochBatches:
        images = len(self.opened)
        if images < self.batch_size * world:
            where = f" in each of {world} processes" if world > 1 else ""
            raise ConfigError(
                f"optimizer.batch_size is {self.batch_size}{where}, but there are only "
                f"{images} training images: give at most {images // world}"
            )
        return EpochBatches(
            self.opened,
            self.batch_size,
            seed=self.seed,
            rank=rank,
            world=world,
            last=self.block.get("last_batch") or "drop",
            position=position,
        )

    def train_dataloader(self) -> Any:
        return self.decoder.training(self, self.batches())

    def in_order(self, source: Source, *, shard: bool) -> Any:
        """A loader of ``[x, targets]``, un-augmented, of this process' share or of all images."""
        indexes = Shard(source, *(self.place if shard else (0, 1)))
        batches = BatchSampler(indexes, self.batch_size, drop_last=False)
        return self.decoder.in_order(self, source, batches)

    def val_dataloader(self) -> Any:
        """This process' share of the validation images, and in a second loader of those held out;
        an empty list where there are none."""
        self.setup()
        if self.val_source is None:
            return []
        validated = self._validated(self.val_source)
        return validated if self.held_out is None else [validated, self._validated(self.held_out)]

    def _validated(self, source: Source) -> Any:
        if self.place[0] < len(source):
            return self.in_order(source, shard=True)
        # the others wait for this process where sums are made, so it has to take part
        one = self._uncounted.setdefault(id(source), uncounted(source))
        return self.in_order(one, shard=False)

    def features_dataloaders(self) -> tuple[Any, Any]:
        """All training and all validation images, un-augmented.

        Raises:
            ConfigError: without the latter.
        """
        val = self.val_features_dataloader()
        return self.in_order(self.opened, shard=False), val

    def val_features_dataloader(self) -> Any:
        """All validation images, un-augmented; raises ConfigError without any."""
        self.setup()
        if self.val_source is None:
            raise ConfigError("data.val_path is missing: an evaluation needs validation images")
        return self.in_order(self.val_source, shard=False)

    def held_out_dataloader(self) -> Any:
        """All images held out of training, un-augmented; None where there are none."""
        self.setup()
        return None if self.held_out is None else self.in_order(self.held_out, shard=False)

    def reader(self, source: Source) -> Reader:
        """The only reader of one of the splits: all loaders know alike which images are damaged."""
        if id(source) not in self._readers:
            self._readers[id(source)] = Reader(source, self.tolerance, self.seed)
        return self._readers[id(source)]

    @property
    def worker_count(self) -> int:
        """Of one loader."""
        on_gpu = self.device.type == "cuda"
        return worker_count(self.options.num_workers, self.processes, on_gpu=on_gpu)

    def workers(self, source: Source) -> int:
        """How many a loader of ``source`` gets; what they share of it is loaded first."""
        if count := self.worker_count:
            source.warm()
        return count
