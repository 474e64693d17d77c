# SPDX-License-Identifier: MIT
"""Fixed transforms: of the test protocol, and of a probe's training images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.data.augmentations.options import Chance, Crop
from mixmask_solo.data.augmentations.solo import SoloOptions, solo
from mixmask_solo.data.datasets import DatasetInfo

__all__ = ["probe_options", "probe_training", "unaugmented"]

BICUBIC = InterpolationMode.BICUBIC


def unaugmented(
    dataset: DatasetInfo, size: int, mean: Sequence[float], std: Sequence[float]
) -> transforms.Compose:
    """The un-augmented image.

    Natural images of any size: shorter side to ``size * 256 / 224``, then the centre (so for 224
    the papers' 256 and 224). Data sets of one size: the image as it is, resized only where the
    network sees another size than the data set's.

    Args:
        dataset: decides between the two.
        size: edge of the result.
        mean: per channel.
        std: per channel.

    Returns:
        A transform from a PIL image to a (3, size, size) float32 tensor.
    """
    if dataset.center_crop:
        fit = [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
    else:
        fit = [transforms.Resize((size, size), interpolation=BICUBIC)]
    return transforms.Compose([*fit, *_tensor(mean, std)])


def probe_options(dataset: DatasetInfo, size: int) -> SoloOptions:
    """What a linear probe trains on: random resized crop and, where it makes sense, flip.

    As solo-learn and the papers have it (scale 0.08 to 1, bilinear); milder for written characters.
    """
    mode: Literal["bilinear", "bicubic"] = "bilinear" if dataset.flip else "bicubic"
    return SoloOptions(
        crop_size=size,
        rrc=Crop(crop_min_scale=dataset.min_scale, interpolation=mode),
        horizontal_flip=Chance(0.5 if dataset.flip else 0.0),
    )


def probe_training(
    dataset: DatasetInfo, size: int, mean: Sequence[float], std: Sequence[float]
) -> transforms.Compose:
    """:func:`probe_options` for single PIL images."""
    return transforms.Compose([*solo(probe_options(dataset, size)), *_tensor(mean, std)])


def _tensor(mean: Sequence[float], std: Sequence[float]) -> list[object]:
    return [transforms.ToTensor(), transforms.Normalize(mean, std)]
