# SPDX-License-Identifier: MIT
"""Does the embedding collapse?"""

from typing import Any

import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


class EmbeddingStd(Callback):
    """Logs ``train_embedding_std``: std over the batch of unit-length projections, mean over D.

    1/√D for projections spread evenly over the sphere, 0 for collapsed ones (SimSiam, §4.1). It
    listens to the projector, so it needs nothing from the method and works on either host.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._z: Tensor | None = None
        self._handle: Any = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listens to the last layer of ``projector``, every so many batches."""
        projector = getattr(pl_module, "projector", None)
        if isinstance(projector, nn.Sequential):
            projector = projector[-1]  # a head may project all views at once, not when called
        if isinstance(projector, nn.Module) and batch_idx % self.every == 0:
            self._handle = projector.register_forward_hook(self._hear)

    def _hear(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self._z = output.detach()  # the first pass of a step is un-mixed view 1
        self._handle.remove()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._z is not None:
            std = F.normalize(self._z.float(), dim=1).std(dim=0).mean()
            pl_module.log("train_embedding_std", std, on_step=True, on_epoch=True)
            self._z = None

    def on_exception(self, *_: Any) -> None:
        """Leaves nothing on the method of a run that failed."""
        if self._handle is not None:
            self._handle.remove()
