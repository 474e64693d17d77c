# SPDX-License-Identifier: MIT
"""What the protocols fix: un-augmented images, and a probe's training images."""

from collections.abc import Sequence
from typing import Literal

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.config.datasets import DatasetInfo
from mixmask_solo.config.schema.augmentations import Chance, Crop, SoloOptions

Kernel = Literal["bilinear", "bicubic"]


def resizing(dataset: DatasetInfo, size: int) -> tuple[int | None, Kernel]:
    """How a test image is brought to ``size``: length of its shorter side before the centre is cut.

    None for the length: both sides are brought to ``size``, whatever their ratio.
    """
    shorter = dataset.resize
    if shorter is None and dataset.center_crop:
        shorter = round(size * 256 / 224)
    usual: Kernel = "bilinear" if dataset.center_crop else "bicubic"
    return shorter, dataset.interpolation or usual


def unaugmented(
    dataset: DatasetInfo, size: int, mean: Sequence[float], std: Sequence[float]
) -> transforms.Compose:
    """The un-augmented PIL image as a (3, size, size) float32 tensor.

    Natural images of any size: shorter side to ``size * 256 / 224``, then the centre (so for 224
    the papers' 256 and 224). Data sets of one size: the image as it is, resized only where the
    network sees another size than the data set's.
    """
    shorter, kernel = resizing(dataset, size)
    edges = (size, size) if shorter is None else shorter
    steps = [transforms.Resize(edges, interpolation=InterpolationMode(kernel))]
    if shorter is not None:
        steps.append(transforms.CenterCrop(size))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])


def probe_options(dataset: DatasetInfo, size: int) -> SoloOptions:
    """What a linear probe trains on: random resized crop and, where it makes sense, flip.

    As solo-learn and the papers have it (scale 0.08 to 1, bilinear); milder for written characters.
    """
    mode: Kernel = dataset.interpolation or ("bilinear" if dataset.flip else "bicubic")
    return SoloOptions(
        crop_size=size,
        rrc=Crop(crop_min_scale=dataset.min_scale, interpolation=mode),
        horizontal_flip=Chance(0.5 if dataset.flip else 0.0),
    )
