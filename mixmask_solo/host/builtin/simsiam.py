# SPDX-License-Identifier: MIT
"""SimSiam: a predictor and a stopped gradient, neither negatives nor momentum."""

from typing import Any, ClassVar

from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo import objectives
from mixmask_solo.host.builtin.base import BaseMethod, Out
from mixmask_solo.host.builtin.heads import mlp, z_std


class SimSiam(BaseMethod):
    """Chen and He, 2021, as in solo-learn; the predictor's learning rate stays constant."""

    needs = ("proj_hidden_dim", "proj_output_dim", "pred_hidden_dim")
    heads: ClassVar = {"projector": {}, "predictor": {"static_lr": True}}

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = self.cfg.method_kwargs
        hidden, out_dim = kwargs.proj_hidden_dim, kwargs.proj_output_dim
        self.projector = mlp(self.features_dim, hidden, hidden, out_dim, norm=True, bias=False)
        # The norm behind it removes any bias; it stays in the state_dict for solo-learn's sake.
        self.projector[-1].bias.requires_grad = False
        self.projector.append(nn.BatchNorm1d(out_dim, affine=False))
        self.predictor = mlp(out_dim, kwargs.pred_hidden_dim, out_dim, norm=True, bias=False)

    def project(self, feats: Tensor) -> Out:
        z = self.projector(feats)
        return {"z": z, "p": self.predictor(z)}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Mean of the two directions of ``-cos(p, z)``; exactly two views."""
        out = super().training_step(batch, batch_idx)
        (z1, z2), (p1, p2) = out["z"], out["p"]
        loss = (objectives.simsiam(p1, z2).mean() + objectives.simsiam(p2, z1).mean()) / 2
        figures = {"train_neg_cos_sim": loss, "train_z_std": z_std(out["z"])}
        self.log_dict(figures, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]
