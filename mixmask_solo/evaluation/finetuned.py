# SPDX-License-Identifier: MIT
"""A whole network that is trained on labels: a backbone and a classifier, each at its own rate."""

from typing import Any

from omegaconf import DictConfig
from torch import nn

from mixmask_solo.evaluation.probe import Probe


class Finetuned(Probe):
    """A probe whose backbone is trained too, in training mode: BatchNorm uses each batch.

    Its optimiser has two groups, ``backbone`` at ``optimizer.lr`` and ``classifier`` at
    ``optimizer.classifier_lr``, as Barlow Twins fine-tunes on 1 % and 10 % of ImageNet's labels,
    and after it MSCN and MixMask; both follow one schedule.
    """

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        groups = super().learnable_params
        [classifier] = [group for group in groups if group["name"] == "classifier"]
        classifier["lr"] = self.cfg.optimizer.classifier_lr
        return groups


def build_finetuned(backbone: nn.Module, cfg: DictConfig) -> Finetuned:
    """Fine-tuning of a backbone; ``cfg`` is resolved, and decides the classifier's start too."""
    return Finetuned(backbone, cfg, init=cfg.classifier_init)
