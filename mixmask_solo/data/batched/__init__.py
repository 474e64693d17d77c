# SPDX-License-Identifier: MIT
"""Augmentation of whole batches of images of one size: one file an operation."""

from __future__ import annotations

from mixmask_solo.data.batched.views import Maker, Take

__all__ = ["Maker", "Take"]
