# SPDX-License-Identifier: MIT
"""What momentum methods share: a second network that follows the online one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.host.builtin.base import BaseMethod, Out
from mixmask_solo.host.builtin.defaults import MOMENTUM, complete
from mixmask_solo.host.builtin.metrics import accuracy_at_k, class_loss
from mixmask_solo.host.builtin.momentum import MomentumUpdater

__all__ = ["BaseMomentumMethod", "momentum_copy"]


def momentum_copy(online: nn.Module) -> nn.Module:
    """A copy without gradients, equal at the start."""
    return deepcopy(online).requires_grad_(False)


class BaseMomentumMethod(BaseMethod):
    """Forwards the large crops through the momentum network and moves it after each step.

    Args:
        cfg: as for :class:`BaseMethod`, with ``momentum: {base_tau, final_tau, classifier}``.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        momentum = self.cfg.momentum
        self.momentum_backbone = momentum_copy(self.backbone)
        self.momentum_classifier: nn.Module | None = None
        if momentum.classifier:
            self.momentum_classifier = nn.Linear(self.features_dim, self.num_classes)
        self.momentum_updater = MomentumUpdater(momentum.base_tau, momentum.final_tau)
        self.last_step = 0

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """See :meth:`BaseMethod.add_and_assert_specific_cfg`."""
        return complete(BaseMethod.add_and_assert_specific_cfg(cfg), MOMENTUM)

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Adds the momentum classifier's group where there is one."""
        groups = super().learnable_params
        if self.momentum_classifier is not None:
            group = {
                "name": "momentum_classifier",
                "params": list(self.momentum_classifier.parameters()),
                "lr": self.classifier_lr,
                "weight_decay": 0,
            }
            groups.append(group)
        return groups

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """(online, momentum) modules; subclasses append theirs."""
        return [(self.backbone, self.momentum_backbone)]

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> Out:
        """``feats`` of the momentum backbone for ``X (N, C, H, W)``."""
        return {"feats": self.momentum_backbone(self._as_fast_layout(X))}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Adds ``momentum_*`` lists, one entry a large crop, to the base class' ``out``."""
        out = super().training_step(batch, batch_idx)
        _, X, targets = batch
        X = [X] if isinstance(X, Tensor) else X
        steps = [self._shared_step_momentum(x, targets) for x in X[: self.num_large_crops]]
        out.update({f"momentum_{key}": [step[key] for step in steps] for key in steps[0]})
        if self.momentum_classifier is not None:
            names = {"loss": "class_loss", "acc1": "acc1", "acc5": "acc5"}
            metrics = {}
            for key, name in names.items():
                out[f"momentum_{key}"] = torch.stack(out[f"momentum_{key}"]).mean()
                metrics[f"train_momentum_{name}"] = out[f"momentum_{key}"]
            self.log_labelled(metrics, targets)
            out["loss"] = out["loss"] + out["momentum_loss"]
        return out

    def validation_step(
        self,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int | None = None,
        update_validation_step_outputs: bool = True,
    ) -> Out:
        """Adds the momentum classifier's figures where there is one."""
        metrics = super().validation_step(batch, batch_idx, update_validation_step_outputs=False)
        if self.momentum_classifier is not None:
            out = self._shared_step_momentum(*batch)
            for key in ("loss", "acc1", "acc5"):
                metrics[f"momentum_val_{key}"] = out[key]
        if update_validation_step_outputs:
            self.validation_step_outputs.append(metrics)
        return metrics

    def on_train_start(self) -> None:
        """Takes step and τ from the trainer, so that a resumed run goes on where it was."""
        self.momentum_updater.forget()
        self.last_step = self._optimizer_steps
        self._update_tau()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the momentum network and then τ, if the optimiser took a step."""
        if self._optimizer_steps > self.last_step:
            self.momentum_updater.update_pairs(self.momentum_pairs)
            self.log("tau", self.momentum_updater.cur_tau)
            self.last_step = self._optimizer_steps
            self._update_tau()

    @property
    def _optimizer_steps(self) -> int:
        """Batches that moved the weights; ``global_step`` counts each optimiser for itself."""
        return int(self.trainer.global_step) // max(1, len(self.trainer.optimizers))

    def _update_tau(self) -> None:
        self.momentum_updater.update_tau(
            self._optimizer_steps, self.trainer.estimated_stepping_batches
        )

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> Out:
        out = self.momentum_forward(X)
        if self.momentum_classifier is not None:
            logits = self.momentum_classifier(out["feats"])
            acc1, acc5 = accuracy_at_k(logits, targets)
            loss = class_loss(logits, targets)
            out.update({"logits": logits, "loss": loss, "acc1": acc1, "acc5": acc5})
        return out
