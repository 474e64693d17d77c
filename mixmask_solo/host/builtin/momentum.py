# SPDX-License-Identifier: MIT
"""What momentum methods share: a second network that follows the online one."""

import math
from copy import deepcopy
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.host.builtin.base import BaseMethod, Out
from mixmask_solo.host.builtin.defaults import MOMENTUM
from mixmask_solo.host.builtin.labelled import class_metrics


def momentum_copy(online: nn.Module) -> nn.Module:
    """A copy without gradients, equal at the start."""
    return deepcopy(online).requires_grad_(False)


class MomentumUpdater:
    """Parameters follow the online ones by an exponential moving average; buffers do not.

    Of the old ones a share ``cur_tau`` stays, from ``base_tau`` at the start to ``final_tau``.
    """

    def __init__(self, base_tau: float = 0.996, final_tau: float = 1.0) -> None:
        if not 0 <= base_tau <= final_tau <= 1:
            raise ValueError(
                f"momentum.base_tau is {base_tau} and final_tau {final_tau}: "
                "needed is 0 <= base_tau <= final_tau <= 1"
            )
        self.base_tau, self.final_tau = base_tau, final_tau
        self.cur_tau = base_tau

    @torch.no_grad()
    def update(self, online: nn.Module, momentum: nn.Module) -> None:
        """One step of the average of one pair of modules, in place and in one fused call."""
        source: list[Tensor] = list(online.parameters())
        target: list[Tensor] = list(momentum.parameters())
        torch._foreach_lerp_(target, source, 1.0 - self.cur_tau)

    def update_tau(self, cur_step: int, max_steps: float) -> None:
        """Sets τ, which rises by a cosine, for the update that follows step ``cur_step``."""
        left = (math.cos(math.pi * cur_step / max_steps) + 1) / 2
        self.cur_tau = self.final_tau - (self.final_tau - self.base_tau) * left


class BaseMomentumMethod(BaseMethod):
    """Forwards the large crops through the momentum network and moves it after each step."""

    defaults = BaseMethod.defaults | MOMENTUM

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        momentum = self.cfg.momentum
        self.momentum_backbone = momentum_copy(self.backbone)
        self.momentum_classifier: nn.Module | None = None
        if momentum.classifier:
            self.momentum_classifier = nn.Linear(self.features_dim, self.num_classes)
        self.momentum_updater = MomentumUpdater(momentum.base_tau, momentum.final_tau)
        self.last_step = 0

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """(online, momentum) modules: the backbones, and the heads that have a momentum copy."""
        names = [n for n in ("backbone", *self.heads) if hasattr(self, f"momentum_{n}")]
        return [(getattr(self, n), getattr(self, f"momentum_{n}")) for n in names]

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
            self._log_classifier(out, targets, "momentum_")
            out["loss"] = out["loss"] + out["momentum_loss"]
        return out

    def validation_step(self, batch: Any, batch_idx: int) -> Out:
        """Adds the momentum classifier's figures where there is one."""
        metrics = super().validation_step(batch, batch_idx)
        if self.momentum_classifier is not None:
            out = self._shared_step_momentum(*batch)
            metrics |= {f"momentum_val_{key}": out[key] for key in ("loss", "acc1", "acc5")}
        return metrics

    def on_train_start(self) -> None:
        """Takes step and τ from the trainer, so that a resumed run goes on where it was."""
        self._count_step()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the momentum network and then τ, if the optimiser took a step."""
        if self._optimizer_steps > self.last_step:
            for pair in self.momentum_pairs:
                self.momentum_updater.update(*pair)
            # filled on the device: a number would be copied there, and waited for
            tau = torch.full((), self.momentum_updater.cur_tau, device=self.device)
            self.log("tau", tau)
            self._count_step()

    @property
    def _optimizer_steps(self) -> int:
        """Batches that moved the weights; ``global_step`` counts each optimiser for itself."""
        return int(self.trainer.global_step) // max(1, len(self.trainer.optimizers))

    def _count_step(self) -> None:
        self.last_step = self._optimizer_steps
        self.momentum_updater.update_tau(self.last_step, self.trainer.estimated_stepping_batches)

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> Out:
        out = self.momentum_forward(X)
        if self.momentum_classifier is not None:
            logits = self.momentum_classifier(out["feats"])
            out |= {"logits": logits, **class_metrics(logits, targets)}
        return out
