# SPDX-License-Identifier: MIT
"""A linear classifier on a pretrained backbone, as the papers set it up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.soft_targets import SoftTargets
from mixmask_solo.host.builtin import LinearModel

__all__ = ["Identity", "Probe", "ProbeOptions", "build_probe"]


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


class Probe(LinearModel):
    """The host's probe, which tells its soft targets which batch they are drawn for."""

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss; logs it with the accuracies."""
        if isinstance(self.mixup_func, SoftTargets):
            self.mixup_func.place = (self.current_epoch, batch_idx, self.global_rank)
        return super().training_step(batch, batch_idx)


def build_probe(backbone: nn.Module, cfg: DictConfig) -> Probe:
    """A probe with the classifier's start, schedule and soft targets of ``cfg``.

    Args:
        backbone: pretrained, or :class:`Identity` on cached features.
        cfg: resolved configuration of a probe.
    """
    settings: Any = OmegaConf.create(OmegaConf.to_container(cfg))
    if cfg.scheduler.name == "exponential":
        settings.scheduler = {**settings.scheduler, **_exponential(cfg)}
    if isinstance(backbone, Identity):
        settings.performance.disable_channel_last = True  # features have no such layout
    soft = cfg.mixup > 0 or cfg.cutmix > 0 or cfg.label_smoothing > 0
    model = Probe(backbone, settings, mixup_func=SoftTargets(cfg) if soft else None)
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
