# SPDX-License-Identifier: MIT
"""The keys of a run: solo-learn 1.0.6's with its defaults, and ours. One dataclass a block."""

from mixmask_solo.config.schema.detect import Detect
from mixmask_solo.config.schema.method import METHOD_KWARGS, MOMENTUM, Momentum
from mixmask_solo.config.schema.optimizer import OPTIMIZER_KWARGS
from mixmask_solo.config.schema.run import Finetune, Linear, Pretrain

__all__ = [
    "METHOD_KWARGS",
    "MOMENTUM",
    "OPTIMIZER_KWARGS",
    "Detect",
    "Finetune",
    "Linear",
    "Momentum",
    "Pretrain",
]
