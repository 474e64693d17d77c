# SPDX-License-Identifier: MIT
"""Keep-masks on a grid: 1 (True) = the own pixel stays."""

from mixmask_solo.masks.blocked import blocked
from mixmask_solo.masks.chosen import chosen, window
from mixmask_solo.masks.discrete import discrete
from mixmask_solo.masks.grid import MaskPool, patches, upsample
from mixmask_solo.masks.patch_or_focal import patch_or_focal
from mixmask_solo.masks.salient import salient

__all__ = [
    "MaskPool",
    "blocked",
    "chosen",
    "discrete",
    "patch_or_focal",
    "patches",
    "salient",
    "upsample",
    "window",
]
