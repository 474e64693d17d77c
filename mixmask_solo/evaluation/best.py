# SPDX-License-Identifier: MIT
"""The best epoch of a probe, which is what the papers report."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["BestEpoch"]


class BestEpoch(Callback):
    """Remembers the validation with the highest ``val_acc1``; the first of equals.

    It is saved with the checkpoint, so that a resumed run knows of the epochs before.
    """

    def __init__(self) -> None:
        self.best: dict[str, float] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares this validation with the best."""
        acc1 = trainer.callback_metrics.get("val_acc1")
        if trainer.sanity_checking or acc1 is None:
            return
        if not self.best or float(acc1) > self.best["best_val_acc1"]:
            self.best = {
                "best_epoch": trainer.current_epoch,
                "best_val_acc1": float(acc1),
                "best_val_acc5": float(trainer.callback_metrics["val_acc5"]),
            }

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return dict(self.best)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best = dict(state_dict)
