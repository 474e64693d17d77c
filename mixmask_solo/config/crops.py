# SPDX-License-Identifier: MIT
"""How many large and small crops the ``augmentations`` make of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.tables import TWO_VIEW_METHODS

__all__ = ["count_crops"]


def count_crops(augmentations: Sequence[Any], method: str) -> tuple[int, int]:
    """Large crops (of the first entry's size) and small ones.

    Args:
        augmentations: checked entries with ``crop_size`` and ``num_crops``.
        method: whose loss uses them.

    Raises:
        ConfigError: where the method's loss has not the crops it needs.
    """
    if not augmentations:
        raise ConfigError(
            f"augmentations is missing: {method} compares two crops of an image; "
            "give a list of pipelines with crop_size and num_crops"
        )
    size = augmentations[0].crop_size
    for i, entry in enumerate(augmentations):
        if entry.crop_size > size:
            raise ConfigError(
                f"augmentations[{i}].crop_size is {entry.crop_size}: larger than the first "
                f"entry's {size}; put the large crops first"
            )
    large = sum(a.num_crops for a in augmentations if a.crop_size == size)
    small = sum(a.num_crops for a in augmentations) - large
    _refuse(large, small, size, method)
    return large, small


def _refuse(large: int, small: int, size: int, method: str) -> None:
    if large < 2:
        raise ConfigError(
            f"augmentations makes {large} crop of size {size}: {method} needs at least 2; "
            "raise num_crops or add an entry of that size"
        )
    if method in TWO_VIEW_METHODS and (large, small) != (2, 0):
        raise ConfigError(
            f"augmentations makes {large} large and {small} small crops: the loss of {method} "
            "takes exactly 2 large ones"
        )
