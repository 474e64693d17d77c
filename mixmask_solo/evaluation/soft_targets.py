# SPDX-License-Identifier: MIT
"""Mixup, CutMix and label smoothing of a probe's training batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data.augmentations.randomness import numpy_seeded

__all__ = ["SoftTargets"]


class SoftTargets:
    """From images and classes to (mixed) images and a share of every class.

    What is mixed, and how, depends on the seed and on ``place`` alone: timm draws from NumPy's
    global generator, which is started anew for each batch and left as it was.

    Args:
        cfg: ``mixup``, ``cutmix``, ``label_smoothing``, ``data.num_classes``, ``seed``.

    Attributes:
        place: (epoch, batch, rank) of the next batch.

    Raises:
        ConfigError: where images that have to be paired come in odd numbers.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.seed = int(cfg.get("seed", 5))
        self.smoothing, self.classes = float(cfg.label_smoothing), int(cfg.data.num_classes)
        self.place = (0, 0, 0)
        self.mixup: Any = _mixup(cfg) if cfg.mixup > 0 or cfg.cutmix > 0 else None

    def __call__(self, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One batch.

        Args:
            x: ``(N, C, H, W)``; mixed in place.
            targets: ``(N,)`` int64.

        Returns:
            The images and ``(N, classes)`` targets.
        """
        if self.mixup is None:
            return x, self._smooth(targets)
        with numpy_seeded(self.seed, *self.place):
            mixed: tuple[Tensor, Tensor] = self.mixup(x, targets)
        return mixed

    def _smooth(self, targets: Tensor) -> Tensor:
        """1 - smoothing for the class, the rest spread evenly over all."""
        hot = F.one_hot(targets, self.classes).to(torch.get_default_dtype())
        return hot * (1 - self.smoothing) + self.smoothing / self.classes


def _mixup(cfg: DictConfig) -> Any:
    if cfg.optimizer.batch_size % 2:
        raise ConfigError(
            f"optimizer.batch_size is {cfg.optimizer.batch_size}: mixup and cutmix pair "
            "images, give an even number"
        )
    from timm.data.mixup import Mixup

    return Mixup(
        mixup_alpha=cfg.mixup,
        cutmix_alpha=cfg.cutmix,
        label_smoothing=float(cfg.label_smoothing),
        num_classes=int(cfg.data.num_classes),
    )
