# SPDX-License-Identifier: MIT
"""Total loss, learning rate and norm of the gradient of the steps that are logged."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer


class StepGauges(Callback):
    """Logs ``train_loss``, ``train_lr`` and ``train_grad_norm``; nothing here waits for the device.

    The rate is that of the first group of parameters, the backbone's, as the step used it. The norm
    is over all parameters of the optimiser, of the gradients before any clipping.
    """

    def __init__(self) -> None:
        self._norm: Tensor | None = None
        self._rate = 0.0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Gradients are complete, summed over batches and ranks, unscaled and not clipped yet."""
        self._rate = float(optimizer.param_groups[0]["lr"])
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        grads = [p.grad.detach() for p in parameters if p.grad is not None]
        # of every step, logged or not, so that an epoch's mean is one
        self._norm = torch.stack(torch._foreach_norm(grads)).norm() if grads else None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        logged = {"train_loss": loss.detach() * trainer.accumulate_grad_batches}
        if self._norm is not None:
            logged["train_grad_norm"] = self._norm
            self._norm = None
        pl_module.log_dict(logged, on_step=True, on_epoch=True)
        if trainer._logger_connector.should_update_logs:
            # Filled there: a number of Python's would be copied, and the copy waited for.
            rate = torch.full((), self._rate, device=logged["train_loss"].device)
            pl_module.log("train_lr", rate, on_step=True, on_epoch=False)
