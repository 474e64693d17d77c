# SPDX-License-Identifier: MIT
"""A linear classifier on a pretrained backbone, as the papers set it up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.host import load

__all__ = ["Identity", "ProbeOptions", "build_probe"]

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass
class ProbeOptions:
    """The block ``probe`` (ours).

    Attributes:
        features: ``augmented`` runs random crops through the backbone every epoch (MoCo's and
            MixMask's protocol); ``cached`` runs each un-augmented image through it once and
            trains on the features (htdt/self-supervised, behind the papers' CIFAR figures).
        init: ``default`` is PyTorch's; ``normal`` is MoCo's and MixMask's, N(0, 0.01²), bias 0.
    """

    features: Literal["augmented", "cached"] = "augmented"
    init: Literal["default", "normal"] = "default"


class Identity(nn.Identity):
    """Stands for the backbone where its features ``(N, dim)`` are the input already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.num_features = dim


def build_probe(backbone: nn.Module, cfg: DictConfig) -> Any:
    """The host's ``LinearModel`` with the classifier's start, schedule and soft targets of ``cfg``.

    Args:
        backbone: pretrained, or :class:`Identity` on cached features.
        cfg: resolved configuration of a probe.
    """
    settings = OmegaConf.create(OmegaConf.to_container(cfg))
    if cfg.scheduler.name == "exponential":
        settings.scheduler = {**settings.scheduler, **_exponential(cfg)}
    if isinstance(backbone, Identity):
        settings.performance.disable_channel_last = True  # features have no such layout
    model = load("builtin").linear(backbone, settings, mixup_func=_soft_targets(cfg))
    if cfg.probe.init == "normal":
        nn.init.normal_(model.classifier.weight, std=0.01)
        nn.init.zeros_(model.classifier.bias)
    return model


def _exponential(cfg: DictConfig) -> dict[str, Any]:
    """A constant factor each epoch, which would reach ``min_lr`` with the epoch after the last."""
    epochs, lr, low = int(cfg.max_epochs), float(cfg.optimizer.lr), float(cfg.scheduler.min_lr)
    if not 0 < low <= lr:
        raise ConfigError(
            f"scheduler.min_lr is {low:g}: an exponential decay ends above 0 and not above the "
            f"(scaled) learning rate {lr:g}"
        )
    steps = list(range(1, epochs))
    return {"name": "step", "lr_decay_steps": steps, "gamma": (low / lr) ** (1 / epochs)}


def _soft_targets(cfg: DictConfig) -> Mixer | None:
    """Mixup, CutMix and label smoothing of training batches; None where none is asked for."""
    smoothing, classes = float(cfg.label_smoothing), int(cfg.data.num_classes)
    if cfg.mixup > 0 or cfg.cutmix > 0:
        if cfg.optimizer.batch_size % 2:
            raise ConfigError(
                f"optimizer.batch_size is {cfg.optimizer.batch_size}: mixup and cutmix pair "
                "images, give an even number"
            )
        from timm.data.mixup import Mixup

        mixer: Mixer = Mixup(
            mixup_alpha=cfg.mixup,
            cutmix_alpha=cfg.cutmix,
            label_smoothing=smoothing,
            num_classes=classes,
        )
        return mixer
    return (lambda x, targets: (x, _smooth(targets, classes, smoothing))) if smoothing else None


def _smooth(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """(N, classes): 1 - smoothing for the class, the rest spread evenly over all."""
    hot = F.one_hot(targets, classes).to(torch.get_default_dtype())
    return hot * (1 - smoothing) + smoothing / classes
