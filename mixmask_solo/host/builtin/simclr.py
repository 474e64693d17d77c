# SPDX-License-Identifier: MIT
"""SimCLR: views of one image attract each other, all other images repel."""

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo import objectives
from mixmask_solo.host.builtin.base import BaseMethod, Out
from mixmask_solo.host.builtin.heads import mlp


class SimCLR(BaseMethod):
    """Chen et al., 2020, as in solo-learn; negatives from all processes."""

    needs = ("proj_hidden_dim", "proj_output_dim", "temperature")
    heads: ClassVar = {"projector": {}}

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = self.cfg.method_kwargs
        self.temperature: float = kwargs.temperature
        self.projector = mlp(self.features_dim, kwargs.proj_hidden_dim, kwargs.proj_output_dim)

    def project(self, feats: Tensor) -> Out:
        return {"z": self.projector(feats)}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """NT-Xent over all views; a sample's index tells its positives."""
        out = super().training_step(batch, batch_idx)
        indexes = batch[0].repeat(self.num_crops)
        loss = objectives.simclr(torch.cat(out["z"]), indexes, self.temperature)
        self.log("train_nce_loss", loss, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]
