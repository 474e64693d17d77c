# SPDX-License-Identifier: MIT
"""Augmentation pipelines, registered by name and configured by solo-learn's ``augmentations``."""

from mixmask_solo.config.schema.augmentations import ViewOptions
from mixmask_solo.data.augmentations import builtin as _builtin  # noqa: F401 - registers itself
from mixmask_solo.data.augmentations.pipeline import (
    Operation,
    Pipeline,
    assemble,
    build,
    build_all,
    known,
    register,
)

__all__ = [
    "Operation",
    "Pipeline",
    "ViewOptions",
    "assemble",
    "build",
    "build_all",
    "known",
    "register",
]
