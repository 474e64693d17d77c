# SPDX-License-Identifier: MIT
# ruff: noqa: RUF009  (option() makes a dataclass field, as dataclasses.field does)
"""The whole of a pretraining configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mixmask_solo.config.option import option
from mixmask_solo.config.schema.augmentations import Augmentation
from mixmask_solo.config.schema.data import Data
from mixmask_solo.config.schema.method import METHOD_KWARGS
from mixmask_solo.config.schema.optimizer import Optimizer, Scheduler
from mixmask_solo.config.schema.running import Backbone, KNNEval, Running

__all__ = ["Pretrain"]


@dataclass(kw_only=True)
class Pretrain(Running):
    """Keys of ``mixmask-pretrain``.

    Args:
        method: which loss.
        host: whose classes run it: solo-learn's, the built-in ones, or what is there.
        method_kwargs: the method's own keys and the blocks of strategies.
        momentum: for methods with a momentum network.
        init_from: checkpoint whose weights a new run starts with (ours); a run that is resumed
            goes on from its own.
        augmentations: one entry a pipeline; the first entry's ``crop_size`` is that of the
            large crops.
    """

    method: str = option(choices=tuple(METHOD_KWARGS))
    host: Literal["auto", "solo", "builtin"] = "auto"
    backbone: Backbone = option()
    data: Data = option()
    augmentations: list[Augmentation] = option([])
    optimizer: Optimizer = option()
    scheduler: Scheduler = option()
    knn_eval: KNNEval = field(default_factory=KNNEval)
    method_kwargs: dict[str, Any] = option({})
    momentum: dict[str, Any] | None = option(None, absent=True)
    init_from: str | None = option(None, absent=True)
