# SPDX-License-Identifier: MIT
"""BYOL: an online network predicts a momentum network's projection of another view."""

from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo import objectives
from mixmask_solo.host.builtin.base import Out
from mixmask_solo.host.builtin.heads import mlp, z_std
from mixmask_solo.host.builtin.momentum import BaseMomentumMethod, momentum_copy


class BYOL(BaseMomentumMethod):
    """Grill et al., 2020, as in solo-learn: the sum over all pairs of different views."""

    needs = ("proj_hidden_dim", "proj_output_dim", "pred_hidden_dim")
    heads: ClassVar = {"projector": {}, "predictor": {}}

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = self.cfg.method_kwargs
        out_dim = kwargs.proj_output_dim
        self.projector = mlp(self.features_dim, kwargs.proj_hidden_dim, out_dim, norm=True)
        self.momentum_projector = momentum_copy(self.projector)
        self.predictor = mlp(out_dim, kwargs.pred_hidden_dim, out_dim, norm=True)

    def project(self, feats: Tensor) -> Out:
        z = self.projector(feats)
        return {"z": z, "p": self.predictor(z)}

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> Out:
        """Adds ``z (N, D)``, any length."""
        out = super().momentum_forward(X)
        return {**out, "z": self.momentum_projector(out["feats"])}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Sum over momentum views v and other views w of the mean ``2 - 2·cos(p_w, z_v)``."""
        out = super().training_step(batch, batch_idx)
        targets = out["momentum_z"]
        pairs = [(w, v) for v in range(len(targets)) for w in range(self.num_crops) if w != v]
        losses = [objectives.byol(out["p"][w], targets[v]).mean() for w, v in pairs]
        loss = torch.stack(losses).sum()
        std = z_std(out["z"][: self.num_large_crops])
        figures = {"train_neg_cos_sim": loss, "train_z_std": std}
        self.log_dict(figures, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]
