# SPDX-License-Identifier: MIT
"""A linear classifier on a frozen backbone, or fine-tuning of both."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from lightning.pytorch import LightningModule
from omegaconf import DictConfig
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from mixmask_solo.host.builtin.backbones import features_dim
from mixmask_solo.host.builtin.defaults import LINEAR, complete, require
from mixmask_solo.host.builtin.labelled import LabelledMeans, class_metrics, mixed_loss
from mixmask_solo.host.builtin.optimization import configure_optimizers, read_options
from mixmask_solo.host.builtin.per_class import MEAN_CLASS, MeanPerClass


class LinearModel(LabelledMeans, LightningModule):
    """solo-learn's probe. A frozen backbone stays in eval mode, its BatchNorm untouched.

    Args:
        backbone: from ``(N, C, H, W)`` to ``(N, F)``.
        mixup_func: from ``(X, targets)`` to the same, applied to training batches.
    """

    lr: float
    weight_decay: float

    def __init__(
        self,
        backbone: nn.Module,
        cfg: DictConfig,
        mixup_func: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
        self.backbone = backbone
        self.classifier = nn.Linear(features_dim(backbone), cfg.data.num_classes)
        self.mixup_func = mixup_func
        read_options(self, cfg)
        self.layer_decay: float = cfg.optimizer.layer_decay
        self.finetune: bool = cfg.finetune
        self.no_channel_last: bool = cfg.performance.disable_channel_last
        if not self.finetune:
            self.backbone.requires_grad_(False).eval()
        self.validation_step_outputs: list[dict[str, Any]] = []
        self.per_class = MeanPerClass(int(cfg.data.num_classes))

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """A copy of ``cfg`` with all defaults filled in; ValueError names a key that is missing."""
        require(cfg, ("max_epochs", "data.num_classes", "optimizer.name", "scheduler.name"))
        cfg = complete(cfg, LINEAR)
        if cfg.optimizer.layer_decay > 0 and not cfg.finetune:
            raise ValueError(
                f"optimizer.layer_decay is {cfg.optimizer.layer_decay}: it needs finetune: true"
            )
        return cfg

    def train(self, mode: bool = True) -> "LinearModel":
        """Switches to training mode, without the backbone if that is frozen."""
        super().train(mode)
        if not self.finetune:
            self.backbone.eval()
        return self

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Parameter groups; ``layer_decay`` lowers the rate from layer to layer downwards."""
        classifier = {"name": "classifier", "params": list(self.classifier.parameters())}
        if not self.finetune:
            return [classifier]
        if self.layer_decay <= 0:
            return [{"name": "backbone", "params": list(self.backbone.parameters())}, classifier]
        groups = param_groups_layer_decay(
            self.backbone, self.weight_decay, layer_decay=self.layer_decay
        )
        layers = [
            {**g, "lr": self.lr * g.pop("lr_scale"), "name": f"layer_{i}"}
            for i, g in enumerate(groups)
        ]
        return [*layers, classifier]

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, self.learnable_params)

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """``feats (N, F)`` and ``logits (N, classes)`` of ``X (N, C, H, W)``."""
        if not self.no_channel_last:
            X = X.to(memory_format=torch.channels_last)
        with nullcontext() if self.finetune else torch.no_grad():
            feats = self.backbone(X)
        return {"logits": self.classify(feats), "feats": feats}

    def classify(self, feats: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of ``feats (N, F)``."""
        logits: Tensor = self.classifier(feats)
        return logits

    def shared_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """Loss and accuracy of ``batch = (X, targets)``; no accuracy for mixed targets.

        There must be no image without a label to mix.
        """
        X, targets = batch
        if self.training and self.mixup_func is not None:
            X, targets = self.mixup_func(X, targets)
            return {"loss": mixed_loss(self(X)["logits"], targets)}
        return class_metrics(self(X)["logits"], targets)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss; logs it with the accuracies."""
        out = self.shared_step(batch, batch_idx)
        self.log_labelled({f"train_{key}": value for key, value in out.items()}, batch[1])
        return out["loss"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Collects loss and accuracies."""
        X, targets = batch
        logits = self(X)["logits"]
        self.collect_validation(class_metrics(logits, targets), targets)
        self.per_class.add(logits, targets)

    def on_validation_epoch_end(self) -> None:
        """Logs the means over all validation images, and that over the classes."""
        super().on_validation_epoch_end()
        mean = self.per_class.compute(self.device)
        if mean is not None:
            self.log(MEAN_CLASS, mean, sync_dist=True)
