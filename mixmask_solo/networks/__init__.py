# SPDX-License-Identifier: MIT
"""Parts of networks that neither torch nor a host has."""

from mixmask_solo.networks.key_queue import KeyQueue
from mixmask_solo.networks.occluder import Occluder, default_depth
from mixmask_solo.networks.pass_statistics import PassStatistics
from mixmask_solo.networks.split_norm import SplitBatchNorm2d, split_batch_norm

__all__ = [
    "KeyQueue",
    "Occluder",
    "PassStatistics",
    "SplitBatchNorm2d",
    "default_depth",
    "split_batch_norm",
]
