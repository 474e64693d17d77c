# SPDX-License-Identifier: MIT
"""Watches the embedding's spread, so that a collapse shows while it happens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

__all__ = ["EmbeddingStd"]


class EmbeddingStd(Callback):
    """Logs ``train_embedding_std``: std over the batch of unit-length projections, mean over D.

    1/√D for projections spread evenly over the sphere, 0 for collapsed ones (SimSiam, §4.1). It
    listens to the projector, so it needs nothing from the method and works on either host.

    Args:
        every: look at every so many batches.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._z: Tensor | None = None
        self._listening = False
        self._handle: Any = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Attaches to the last layer of ``projector`` where there is one."""
        projector = getattr(pl_module, "projector", None)
        if isinstance(projector, torch.nn.Sequential):
            projector = projector[-1]  # a head may project all views at once, not when called
        if isinstance(projector, torch.nn.Module):
            self._handle = projector.register_forward_hook(self._hear)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Detaches."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Detaches from a run that failed, which nobody tears down."""
        self.teardown(trainer, pl_module, "fit")

    def _hear(self, module: torch.nn.Module, args: Any, output: Tensor) -> None:
        if self._listening and self._z is None:  # the first pass of a step is un-mixed view 1
            self._z = output.detach()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listens to this batch when its turn has come."""
        self._listening = batch_idx % self.every == 0
        self._z = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Logs what was heard."""
        if self._z is not None:
            std = F.normalize(self._z.float(), dim=1).std(dim=0).mean()
            pl_module.log("train_embedding_std", std, on_step=True, on_epoch=True)
            self._z = None
        self._listening = False
