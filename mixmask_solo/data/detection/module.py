# SPDX-License-Identifier: MIT
"""Images with boxes for a Lightning trainer."""

from types import SimpleNamespace
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import BatchSampler

from mixmask_solo.config import ConfigError
from mixmask_solo.config.schema.detect import DetectData
from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.detection.annotations import Annotated, DetectionSource, Faults, trained_on
from mixmask_solo.data.detection.coco import read_coco
from mixmask_solo.data.detection.items import Sizes, StillItems, TrainingItems, collate
from mixmask_solo.data.detection.order import RoundBatches
from mixmask_solo.data.detection.voc import VOC_CLASSES, read_voc
from mixmask_solo.data.order.loading import WorkerLoader
from mixmask_solo.data.order.sampler import Shard, position
from mixmask_solo.data.order.workers import worker_count
from mixmask_solo.data.sources import Source
from mixmask_solo.data.tolerance import Reader, Tolerance

_RENEWAL = 0x62617463686E6F72  # another row of images than training's


class DetectionData(LightningDataModule):
    """Opens the training and the validation images of a resolved configuration.

    Training batches are ``[images, targets]`` of :class:`TrainingItems`; a validation batch holds
    one image.

    Raises:
        ConfigError: what the readers raise, and where no image has an object to train on.
    """

    train_labels = "all"
    held_out: Source | None = None  # a probe's

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.block: dict[str, Any] = OmegaConf.to_container(cfg.data)  # type: ignore[assignment]
        known = {k: v for k, v in self.block.items() if k in DetectData.__dataclass_fields__}
        self.options = DetectData(**known)
        self.masks = bool(cfg.detector.mask)
        self.seed, self.batch_size = int(cfg.seed), int(cfg.optimizer.batch_size)
        self.round = int(cfg.eval_every) * int(cfg.accumulate_grad_batches)
        self.tolerance = Tolerance(self.options.on_error, self.options.max_errors)
        self.decoder = SimpleNamespace(title="Pillow")
        self._opened: tuple[DetectionSource, DetectionSource] | None = None
        self._readers: dict[str, Reader] = {}

    def setup(self, stage: str | None = None) -> None:
        """Reads all annotations, once."""
        if self._opened is not None:
            return
        o = self.options
        named = o.classes or (VOC_CLASSES if (o.format, o.dataset) == ("voc", "voc") else None)
        images, classes, faults = self._read("train", list(named) if named else None)
        kept = trained_on(images, faults)
        if not kept:
            bare = faults.masks_without_extent
            hint = f" ({bare:,} have no mask: detector.mask=false trains on boxes)" if bare else ""
            raise ConfigError(f"data.train_path: no image of it has an object to train on{hint}")
        train = DetectionSource(kept, classes, faults)
        images, _, faults = self._read("val", classes)
        self._opened = train, DetectionSource(images, classes, faults)

    def _read(
        self, split: str, classes: list[str] | None
    ) -> tuple[list[Annotated], list[str], Faults]:
        o, key = self.options, f"data.{split}_path"
        path: str | list[str] = getattr(o, f"{split}_path")
        if o.format == "coco":
            folder = getattr(o, f"{split}_images")
            return read_coco(str(path), folder, key, classes, masks=self.masks)
        if self.masks:
            raise ConfigError(
                "detector.mask is true and data.format is voc: that layout's masks are not read; "
                "set detector.mask=false, or give a file in COCO's format"
            )
        roots = [path] if isinstance(path, str) else path
        return read_voc(roots, getattr(o, f"{split}_sets"), key, classes)

    @property
    def opened(self) -> DetectionSource:
        """The training images that have an object; opens them if nobody did."""
        self.setup()
        assert self._opened is not None
        return self._opened[0]

    @property
    def val_source(self) -> DetectionSource:
        """The validation images."""
        self.setup()
        assert self._opened is not None
        return self._opened[1]

    @property
    def num_classes(self) -> int:
        """Number of classes, without the background."""
        return len(self.opened.classes)

    def faults(self) -> dict[str, Any]:
        """What was passed over, by split."""
        return {"train": self.opened.faults.told(), "val": self.val_source.faults.told()}

    def steps(self, world: int) -> int:
        """Batches of a round in each process, whatever their number."""
        return self.round

    def train_dataloader(self) -> WorkerLoader:
        """The batches of a round from where the trainer stands."""
        trainer = self.trainer
        batches = self._batches(self.seed, self.round)
        batches.position = None if trainer is None else lambda: position(trainer)
        return self._training(batches)

    def renewal(self, count: int) -> WorkerLoader:
        """``count`` other training batches, always the same, to renew BatchNorm's statistics."""
        return self._training(self._batches(mix(self.seed, _RENEWAL), count))

    def val_dataloader(self) -> WorkerLoader:
        """This process' share of the validation images, one by one."""
        sizes = Sizes((self.options.short_side_test,), self.options.max_size)
        shard = Shard(self.val_source, *self._place)
        items = StillItems(self._reader("val"), sizes)
        return self._loader(items, BatchSampler(shard, 1, drop_last=False))

    def teardown(self, stage: str) -> None:
        self.tolerance.gather()

    @property
    def _place(self) -> tuple[int, int]:
        trainer = self.trainer
        return (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)

    def _reader(self, split: str) -> Reader:
        if split not in self._readers:
            source = self.opened if split == "train" else self.val_source
            self._readers[split] = Reader(source, self.tolerance, self.seed)
        return self._readers[split]

    def _batches(self, seed: int, length: int) -> RoundBatches:
        rank, world = self._place
        return RoundBatches(
            self.opened, self.batch_size, seed=seed, rank=rank, world=world, length=length
        )

    def _training(self, batches: RoundBatches) -> WorkerLoader:
        o = self.options
        sizes = Sizes(tuple(o.short_side), o.max_size, o.flip)
        items = TrainingItems(self._reader("train"), sizes, seed=batches.seed, masks=self.masks)
        return self._loader(items, batches)

    def _loader(self, items: Any, batches: Any) -> WorkerLoader:
        strategy = getattr(self.trainer, "strategy", None)
        device = torch.device("cpu") if strategy is None else torch.device(strategy.root_device)
        processes = 1 if self.trainer is None else max(1, self.trainer.num_devices)
        on_gpu = device.type == "cuda"
        workers = worker_count(self.options.num_workers, processes, on_gpu=on_gpu)
        return WorkerLoader(items, batches, workers, collate, device=device)
