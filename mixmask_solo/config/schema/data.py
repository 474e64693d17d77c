# SPDX-License-Identifier: MIT
"""``data``: which images, where they lie, how they are read."""

from dataclasses import dataclass, field
from typing import Literal

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.config.errors import ConfigError, listing
from mixmask_solo.config.option import option

_Storage = Literal["image_folder", "parquet", "webdataset", "file_list"]
_FETCH = ", or one to fetch them into with data.download=true"


@dataclass
class Data:
    """Source of the images."""

    dataset: str = option(choices=tuple(DATASETS))
    train_path: str | None = None  # folder, Parquet files, tar shards or a list; digits need none
    val_path: str | None = None  # null skips validation; digits have their own split
    # how the images are stored, or who decodes them: dali and resident (ours) read any storage
    format: Literal[_Storage, "dali", "resident"] = "image_folder"
    # ours: how they are stored where format does not tell; auto goes by what lies at train_path
    storage: Literal["auto", _Storage] = "auto"
    # ours: folder that the paths of a file list are relative to; null for the list's own
    root: str | None = option(None, absent=True)
    # ours: columns of a Parquet file or CSV list; null finds them by their usual names or types
    image_column: str | None = option(None, absent=True)
    label_column: str | None = option(None, absent=True)
    # ours: folder on this machine's own disk, such as $TMPDIR, that the images are copied to first
    stage_to: str | None = option(None, absent=True)
    # ours: which memory holds format resident's images; auto is the device's if there is room
    resident_on: Literal["auto", "device", "host"] = "auto"
    num_workers: int | Literal["auto"] = option("auto", low=0)  # ours: auto goes by the cores
    no_labels: bool = False  # a flat folder, or a table whose columns hold none
    fraction: float = -1.0  # share of the training set to use; -1 for all
    download: bool = False  # ours: lets torchvision fetch what is missing
    num_classes: int | None = option(None, low=1, absent=True)  # ours; else counted in the files
    # ours: an epoch's last incomplete batch is dropped, as by solo-learn, or padded with its first
    # images; batches are full either way
    last_batch: Literal["drop", "pad"] = "drop"
    # ours: what takes the place of an image that cannot be read, and how many are put up with
    on_error: Literal["raise", "skip", "blank"] = "raise"
    max_errors: int = option(100, low=0)

    def validate(self, prefix: str) -> None:
        """Completes what the data set implies; raises ConfigError for what it rules out."""
        facts = DATASETS[self.dataset]
        if self.dataset in ("image_folder", "parquet") and self.format not in ("dali", "resident"):
            self.format = self.dataset  # type: ignore[assignment]
        if self.train_path is None and facts.kind != "digits":
            raise ConfigError(
                f"{prefix}.train_path is missing: data set {self.dataset} needs the folder "
                f"with its training images{_FETCH * facts.downloads}"
            )
        if self.fraction != -1 and not 0 < self.fraction <= 1:
            raise ConfigError(
                f"{prefix}.fraction is {self.fraction}: give a share above 0, at most 1, "
                "or -1 for the whole training set"
            )
        for key, able in (
            ("no_labels", lambda other: other.kind in ("folder", "parquet")),
            ("download", lambda other: other.downloads),
        ):
            if getattr(self, key) and not able(facts):
                names = listing(name for name, other in DATASETS.items() if able(other))
                raise ConfigError(f"{prefix}.{key} is true for {self.dataset}: only {names} can")
        if facts.num_classes is not None and self.num_classes not in (None, facts.num_classes):
            raise ConfigError(
                f"{prefix}.num_classes is {self.num_classes}: {self.dataset} has "
                f"{facts.num_classes}; leave the key out"
            )
        self.num_classes = facts.num_classes or self.num_classes


@dataclass
class _ProbeImage:
    """``resize`` is the length of a test image's shorter side before its centre is cut out.

    Without it, or without ``interpolation``, images are resized in the data set's usual way.
    """

    crop_size: int | None = option(None, low=1, absent=True)
    resize: int | None = option(None, low=1, absent=True)
    interpolation: Literal["bicubic", "bilinear"] | None = option(None, absent=True)
    mean: list[float] | None = option(None, length=3, absent=True)
    std: list[float] | None = option(None, above=0.0, length=3, absent=True)


@dataclass
class LinearData(Data):
    """``data`` of a classifier's training, with the size and the normalisation of its images."""

    # may also be kept incomplete, as PyTorch's loaders do by themselves
    last_batch: Literal["drop", "pad", "keep"] = "drop"  # type: ignore[assignment]
    augmentations: _ProbeImage = field(default_factory=_ProbeImage)

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        if DATASETS[self.dataset].kind == "benchmark" and self.val_path is None:
            self.val_path = self.train_path  # one folder holds both splits
        if self.val_path is None and self.dataset != "digits":
            raise ConfigError(
                f"{prefix}.val_path is missing: a classifier is measured on validation images"
            )
        if self.no_labels:
            raise ConfigError(f"{prefix}.no_labels is true: a classifier learns from labels")
        if self.augmentations.crop_size is None:
            self.augmentations.crop_size = DATASETS[self.dataset].size


LABELS = {"1percent": 0.01, "10percent": 0.1, "100percent": 1.0}
"""What ``data.labels`` may name, and the share of ImageNet's training images; else it is a file."""
_OF_IMAGENET = ("imagenet", "imagenet100")


@dataclass
class FinetuneData(LinearData):
    """``data`` of fine-tuning.

    ``fraction`` is of the labelled images chosen by ``labels``, class by class, drawn by ``seed``.
    """

    # which images have a label: SimCLR's published lists, all, or a text file of names, one a line
    labels: str = "100percent"

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        if self.labels in LABELS and LABELS[self.labels] < 1:
            known = DATASETS[self.dataset].num_classes is not None
            if known and self.dataset not in _OF_IMAGENET:
                raise ConfigError(
                    f"{prefix}.labels is {self.labels}: SimCLR's list is of ImageNet-1K, not of "
                    f"{self.dataset}; set {prefix}.fraction={LABELS[self.labels]:g}, or give a "
                    "text file of names"
                )
