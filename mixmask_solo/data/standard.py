# SPDX-License-Identifier: MIT
"""Fixed transforms: of the test protocol, and of a probe's training images."""

from __future__ import annotations

from collections.abc import Sequence

from torchvision import transforms
from torchvision.transforms import InterpolationMode

from mixmask_solo.data.datasets import DatasetInfo

__all__ = ["probe_training", "unaugmented"]

BICUBIC, BILINEAR = InterpolationMode.BICUBIC, InterpolationMode.BILINEAR


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


def probe_training(
    dataset: DatasetInfo, size: int, mean: Sequence[float], std: Sequence[float]
) -> transforms.Compose:
    """What a linear probe trains on: random resized crop and, where it makes sense, flip.

    As solo-learn and the papers have it (scale 0.08 to 1); milder for written characters.
    """
    mode = BILINEAR if dataset.flip else BICUBIC
    crop = transforms.RandomResizedCrop(size, scale=(dataset.min_scale, 1.0), interpolation=mode)
    flip = [transforms.RandomHorizontalFlip()] if dataset.flip else []
    return transforms.Compose([crop, *flip, *_tensor(mean, std)])


def _tensor(mean: Sequence[float], std: Sequence[float]) -> list[object]:
    return [transforms.ToTensor(), transforms.Normalize(mean, std)]
