# SPDX-License-Identifier: MIT
"""What is known about each data set before it is opened."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config.check import get
from mixmask_solo.config.errors import ConfigError, require_known

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of one data set."""

    kind: str  # which reader opens it; ``data.format`` replaces the reader, not the facts
    num_classes: int | None  # None where the files have to be asked
    mean: Channels = IMAGENET_MEAN  # pixels in [0, 1]
    std: Channels = IMAGENET_STD
    size: int = 224  # edge of the images, or of the usual crop where they vary
    # test protocol: shorter side to size * 256 / 224 (or to ``resize``), then the centre; else the
    # whole image, brought to the crop size where it differs
    center_crop: bool = True
    min_scale: float = 0.08  # smallest crop a probe trains on
    flip: bool = True  # whether mirrored images are images of the same kind
    resize: int | None = None
    # of a probe's images; None for bilinear crops of natural images, bicubic where a whole image
    # is brought to another size
    interpolation: Literal["bicubic", "bilinear"] | None = None
    # of the whole sets; None where the files tell
    train_images: int | None = None
    val_images: int | None = None
    # what a probe's result is: top-1, or the mean of the classes' own top-1
    metric: Literal["acc1", "mean_class_acc1"] = "acc1"
    downloads: bool = False  # torchvision can fetch it


def _benchmark(
    classes: int, train: int, test: int, *, per_class: bool = False, downloads: bool = True
) -> DatasetInfo:
    """Photographs that representations are transferred to."""
    return DatasetInfo(
        "benchmark",
        classes,
        train_images=train,
        val_images=test,
        metric="mean_class_acc1" if per_class else "acc1",
        downloads=downloads,
    )


# Means and deviations: solo-learn's table for pretraining; Tiny-ImageNet's from
# htdt/self-supervised; the digits' measured on the training split.
DATASETS: dict[str, DatasetInfo] = {
    "digits": DatasetInfo(
        "digits", 10, (0.3052,) * 3, (0.3760,) * 3, 32, center_crop=False, min_scale=0.6, flip=False
    ),
    "cifar10": DatasetInfo(
        "cifar",
        10,
        (0.4914, 0.4822, 0.4465),
        (0.2470, 0.2435, 0.2616),
        32,
        center_crop=False,
        train_images=50_000,
        val_images=10_000,
        downloads=True,
    ),
    "cifar100": DatasetInfo(
        "cifar",
        100,
        (0.5071, 0.4865, 0.4409),
        (0.2673, 0.2564, 0.2762),
        32,
        center_crop=False,
        train_images=50_000,
        val_images=10_000,
        downloads=True,
    ),
    "stl10": DatasetInfo(
        "stl10",
        10,
        (0.4914, 0.4823, 0.4466),
        (0.247, 0.243, 0.261),
        96,
        center_crop=False,
        downloads=True,
    ),
    "tiny-imagenet": DatasetInfo(
        "folder",
        200,
        (0.480, 0.448, 0.398),
        (0.277, 0.269, 0.282),
        64,
        center_crop=False,
        train_images=100_000,
        val_images=10_000,
    ),
    # Splits and metrics of SimCLR's and BYOL's transfer tables, after Kornblith et al. 2019.
    "caltech101": _benchmark(101, 3_030, 5_647, per_class=True),
    "flowers102": _benchmark(102, 2_040, 6_149, per_class=True),
    "food101": _benchmark(101, 75_750, 25_250),
    "pets": _benchmark(37, 3_680, 3_669, per_class=True),
    "cars": _benchmark(196, 8_144, 8_041, downloads=False),  # torchvision's addresses are gone
    "aircraft": _benchmark(100, 6_667, 3_333, per_class=True),
    "dtd": _benchmark(47, 3_760, 1_880),
    "sun397": _benchmark(397, 19_850, 19_850),
    "inaturalist2018": _benchmark(8_142, 437_513, 24_426, downloads=False),
    "places205": _benchmark(205, 2_448_873, 20_500, downloads=False),
    "imagenet100": DatasetInfo("folder", 100, train_images=126_689, val_images=5_000),
    "imagenet": DatasetInfo("folder", 1000, train_images=1_281_167, val_images=50_000),
    "custom": DatasetInfo("folder", None),
    "image_folder": DatasetInfo("folder", None),
    "parquet": DatasetInfo("parquet", None),
}


def info(name: str) -> DatasetInfo:
    """Facts of the data set ``name``.

    Raises:
        ConfigError: for a name that is not in the table.
    """
    require_known("data.dataset", name, DATASETS)
    return DATASETS[name]


def data_block(cfg: Any) -> dict[str, Any]:
    """The ``data`` block of a configuration as a dict, with a known ``dataset`` in it.

    Raises:
        ConfigError: when the block or the name of the data set is missing or unknown.
    """
    block = get(cfg, "data")
    if not isinstance(block, dict) or block.get("dataset") is None:
        raise ConfigError("data.dataset is missing: give the name of a data set, e.g. digits")
    info(block["dataset"])
    return block
