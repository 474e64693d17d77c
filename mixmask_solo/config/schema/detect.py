# SPDX-License-Identifier: MIT
"""The configuration of ``mixmask-detect``; what is not explained is Detectron2's default."""

from dataclasses import dataclass, field
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError, listing
from mixmask_solo.config.option import option
from mixmask_solo.config.schema.run import CHECKPOINTS, Backbone, Run

_USUAL = {  # by detector: proposals before and after NMS, in training and at test; RoIAlign
    "c4": {"pre_nms_train": 12000, "pre_nms_test": 6000, "post_nms_train": 2000, "pool": 14},
    "fpn": {"pre_nms_train": 2000, "pre_nms_test": 1000, "post_nms_train": 1000, "pool": 7},
}


@dataclass
class Detector:
    """Faster R-CNN, with ``mask`` Mask R-CNN; what is null is usual for the detector."""

    name: Literal["c4", "fpn"] = "c4"  # res5 as the RoI head, or a feature pyramid
    mask: bool = False
    # one list of sizes at stride 16, or with fpn one size a level; edges of squares in pixels
    anchor_sizes: list[int] = option([32, 64, 128, 256, 512], above=0)
    aspect_ratios: list[float] = option([0.5, 1.0, 2.0], above=0.0)  # height / width
    pre_nms_train: int | None = option(None, low=1)  # fpn: per level
    pre_nms_test: int | None = option(None, low=1)
    post_nms_train: int | None = option(None, low=1)
    post_nms_test: int = option(1000, low=1)
    rpn_nms: float = option(0.7, above=0.0, high=1.0)
    anchors_per_image: int = option(256, low=1)  # that the RPN's loss samples
    rois_per_image: int = option(512, low=1)  # that the heads' loss samples
    positive_fraction: float = option(0.25, above=0.0, high=1.0)
    pool: int | None = option(None, low=2)  # cells a side that RoIAlign cuts a box into
    score_threshold: float = option(0.05, low=0.0, high=1.0)
    nms: float = option(0.5, above=0.0, high=1.0)
    detections_per_image: int = option(100, low=1)

    def validate(self, prefix: str) -> None:
        for key, value in _USUAL[self.name].items():
            if getattr(self, key) is None:
                setattr(self, key, value)
        if self.name == "fpn" and len(self.anchor_sizes) != 5:
            raise ConfigError(
                f"{prefix}.anchor_sizes is {self.anchor_sizes}: fpn has 5 levels; give 5 sizes"
            )
        if not self.anchor_sizes or not self.aspect_ratios:
            raise ConfigError(f"{prefix}.anchor_sizes and aspect_ratios need a number at least")


@dataclass
class DetectData:
    """Images with boxes, perhaps with masks."""

    format: Literal["voc", "coco"] = option()
    # voc: the folder with ImageSets, Annotations, JPEGImages, or several; coco: the JSON file
    train_path: str | list[str] = option()
    val_path: str | list[str] = option()
    dataset: str = "custom"  # a name for the records; voc stands for its 20 classes
    train_sets: list[str] = option(["trainval"])  # voc: names in ImageSets/Main
    val_sets: list[str] = option(["test"])
    train_images: str | None = option(None, absent=True)  # coco: the folder of the images
    val_images: str | None = option(None, absent=True)
    # null: those of the training files
    classes: list[str] | None = option(None, absent=True, distinct=True)
    short_side: list[int] = option([800], low=1)  # in training one is drawn for each image
    short_side_test: int = option(800, low=1)
    max_size: int = option(1333, low=1)  # of the longer side
    flip: float = option(0.5, low=0.0, high=1.0)
    # of pixels in [0, 1]; null is what the checkpoint was pretrained with, else ImageNet's
    mean: list[float] | None = option(None, length=3)
    std: list[float] | None = option(None, above=0.0, length=3)
    # of VOC's metric: the precision's mean at 11 recalls, as of VOC07, or the area under it
    voc_metric: Literal["2007", "area"] = "2007"
    num_workers: int | Literal["auto"] = option("auto", low=0)
    on_error: Literal["raise", "skip"] = "raise"  # what becomes of images that cannot be read
    max_errors: int = option(100, low=0)

    def validate(self, prefix: str) -> None:
        if self.format == "coco":
            for split in ("train", "val"):
                if getattr(self, f"{split}_images") is None:
                    raise ConfigError(
                        f"{prefix}.{split}_images is missing: give the folder of the images that "
                        f"{prefix}.{split}_path names"
                    )
                if not isinstance(getattr(self, f"{split}_path"), str):
                    raise ConfigError(f"{prefix}.{split}_path: give one JSON file with format coco")
        if not self.short_side:
            raise ConfigError(f"{prefix}.short_side is []: give a length at least, e.g. [800]")
        longest = max(*self.short_side, self.short_side_test)
        if self.max_size < longest:
            raise ConfigError(
                f"{prefix}.max_size is {self.max_size}: it bounds the longer side; give at least "
                f"{longest}, the largest shorter side"
            )


@dataclass
class DetectOptimizer:
    """``lr`` is that of the global batch, as it is written: nothing scales it."""

    batch_size: int = option(low=1)  # of one process and one pass; see accumulate_grad_batches
    lr: float = option(above=0.0)
    name: str = option("sgd", choices=("sgd", "adamw"))
    weight_decay: float = option(1e-4, low=0.0)
    weight_decay_norm: float = option(0.0, low=0.0)  # of norm layers
    kwargs: dict[str, Any] = option({})


@dataclass
class DetectScheduler:
    """Linear warm-up, then ``gamma`` at each milestone; all counts are optimiser steps."""

    name: Literal["warmup_step"] = "warmup_step"
    warmup_steps: int = option(1000, low=0)
    warmup_factor: float = option(0.001, above=0.0, high=1.0)  # of the rate, at step 0
    milestones: list[int] = option([], low=1)
    gamma: float = option(0.1, above=0.0, high=1.0)


@dataclass(kw_only=True)
class Detect(Run):
    """Keys of ``mixmask-detect``."""

    max_steps: int = option(low=1)  # of the optimiser
    eval_every: int | None = option(None, low=1)  # steps of a round; null is one round
    pretrained_feature_extractor: str | None = option()  # null: random weights
    evaluate: Literal["online", "momentum"] = "online"
    backbone: Backbone | None = option(None, absent=True)  # where the checkpoint does not tell
    data: DetectData = option()
    detector: Detector = field(default_factory=Detector)
    optimizer: DetectOptimizer = option()
    scheduler: DetectScheduler = field(default_factory=DetectScheduler)
    precise_bn: int = option(200, low=0)  # batches that BatchNorm's statistics are renewed with
    pictures: int = option(8, low=0)  # validation images drawn once the run has ended

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        self.eval_every = self.eval_every or self.max_steps
        if self.max_steps % self.eval_every:
            raise ConfigError(
                f"eval_every is {self.eval_every}: it must divide max_steps ({self.max_steps}), so "
                "that the last step is measured"
            )
        if (self.max_steps // self.eval_every) % self.check_val_every_n_epoch:
            raise ConfigError(
                f"check_val_every_n_epoch is {self.check_val_every_n_epoch}: there are "
                f"{self.max_steps // self.eval_every} rounds of eval_every={self.eval_every}, the "
                "last of which is measured; give a number that divides them"
            )
        if self.limit_train_batches is not None:
            raise ConfigError(
                f"limit_train_batches is {self.limit_train_batches}: a detection run is as long "
                "as max_steps says; lower that"
            )
        if self.performance.compile:
            raise ConfigError(
                "performance.compile is true: each batch is of another size here; set it to false"
            )
        if self.pretrained_feature_extractor is None and self.backbone is None:
            raise ConfigError(
                "backbone.name is missing: pretrained_feature_extractor is null, so give the "
                "network that starts with random weights, e.g. resnet50"
            )
        path = self.pretrained_feature_extractor
        if path is not None and not path.endswith(CHECKPOINTS):
            raise ConfigError(
                f"pretrained_feature_extractor is {path!r}: give a checkpoint that ends in "
                f"{listing(CHECKPOINTS, 'or')}, or null for random weights"
            )
