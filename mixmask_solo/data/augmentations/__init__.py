# SPDX-License-Identifier: MIT
"""Augmentation pipelines, registered by name and configured by solo-learn's ``augmentations``."""

from mixmask_solo.config.schema.augmentations import ViewOptions
from mixmask_solo.data.augmentations import builtin as _builtin  # noqa: F401 - registers itself
from mixmask_solo.data.augmentations.pipeline import Operation, register

__all__ = ["Operation", "ViewOptions", "register"]
