# SPDX-License-Identifier: MIT
# ruff: noqa: RUF009  (option() makes a dataclass field, as dataclasses.field does)
"""The whole of a linear probe's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option
from mixmask_solo.config.schema.data import LinearData
from mixmask_solo.config.schema.optimizer import LinearOptimizer, LinearScheduler
from mixmask_solo.config.schema.running import Backbone, Running

__all__ = ["Linear"]

_SUFFIXES = (".ckpt", ".pth", ".pt", ".pth.tar")


@dataclass(kw_only=True)
class Linear(Running):
    """Keys of ``mixmask-linear``.

    Args:
        pretrained_feature_extractor: checkpoint whose backbone is probed.
        evaluate: whose weights are taken, the online or the momentum network's (ours).
        backbone: what the checkpoint must hold; not needed where the checkpoint tells it.
        pretrain_method: for the records.
        finetune: trains the backbone too.
        auto_augment, label_smoothing, mixup, cutmix: solo-learn's extras for supervised training.
    """

    pretrained_feature_extractor: str = option()
    evaluate: Literal["online", "momentum"] = "online"
    backbone: Backbone | None = option(None, absent=True)
    pretrain_method: str | None = None
    data: LinearData = option()
    optimizer: LinearOptimizer = option()
    scheduler: LinearScheduler = option()
    finetune: bool = False
    auto_augment: bool = False
    label_smoothing: float = option(0.0, low=0.0, high=1.0)
    mixup: float = option(0.0, low=0.0)
    cutmix: float = option(0.0, low=0.0)

    def validate(self, prefix: str) -> None:
        """Adds the checkpoint's suffix and ``layer_decay`` to the common rules."""
        super().validate(prefix)
        path = self.pretrained_feature_extractor
        if not path.endswith(_SUFFIXES):
            raise ConfigError(
                f"pretrained_feature_extractor is {path!r}: give a checkpoint that ends in "
                ".ckpt, .pth, .pt or .pth.tar"
            )
        if self.optimizer.layer_decay and not self.finetune:
            raise ConfigError(
                f"optimizer.layer_decay is {self.optimizer.layer_decay}: it needs finetune=true"
            )
