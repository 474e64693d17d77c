# SPDX-License-Identifier: MIT
"""Augmentation pipelines, registered by name and configured by solo-learn's ``augmentations``."""

from __future__ import annotations

from mixmask_solo.data.augmentations import glyphs as _glyphs  # noqa: F401 - registers itself
from mixmask_solo.data.augmentations import solo as _solo  # noqa: F401 - registers itself
from mixmask_solo.data.augmentations.options import ViewOptions
from mixmask_solo.data.augmentations.pipeline import Pipeline, build, build_all
from mixmask_solo.data.augmentations.registry import Step, known, register

__all__ = ["Pipeline", "Step", "ViewOptions", "build", "build_all", "known", "register"]
