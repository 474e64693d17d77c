# SPDX-License-Identifier: MIT
"""BYOL: an online network predicts a momentum network's projection of another view."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo import objectives
from mixmask_solo.host.builtin.base import Out
from mixmask_solo.host.builtin.base_momentum import BaseMomentumMethod, momentum_copy
from mixmask_solo.host.builtin.defaults import require
from mixmask_solo.host.builtin.heads import mlp, z_std

__all__ = ["BYOL"]


class BYOL(BaseMomentumMethod):
    """Grill et al., 2020, as in solo-learn: the sum over all pairs of different views.

    Args:
        cfg: with ``method_kwargs: {proj_hidden_dim, proj_output_dim, pred_hidden_dim}``.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = self.cfg.method_kwargs
        out_dim = kwargs.proj_output_dim
        self.projector = mlp(self.features_dim, kwargs.proj_hidden_dim, out_dim, norm=True)
        self.momentum_projector = momentum_copy(self.projector)
        self.predictor = mlp(out_dim, kwargs.pred_hidden_dim, out_dim, norm=True)

    @staticmethod
    def add_and_assert_specific_cfg(cfg: DictConfig) -> DictConfig:
        """See :meth:`BaseMethod.add_and_assert_specific_cfg`."""
        cfg = BaseMomentumMethod.add_and_assert_specific_cfg(cfg)
        names = ("proj_hidden_dim", "proj_output_dim", "pred_hidden_dim")
        require(cfg, [f"method_kwargs.{name}" for name in names])
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Adds projector and predictor."""
        return [
            *super().learnable_params,
            {"name": "projector", "params": list(self.projector.parameters())},
            {"name": "predictor", "params": list(self.predictor.parameters())},
        ]

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Adds the projectors."""
        return [*super().momentum_pairs, (self.projector, self.momentum_projector)]

    def forward(self, X: Tensor) -> Out:
        """Adds ``z (N, D)`` and ``p (N, D)``, any length."""
        return self._with_heads(super().forward(X))

    def multicrop_forward(self, X: Tensor) -> Out:
        """The same for small crops."""
        return self._with_heads(super().multicrop_forward(X))

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
        self.log_dict(
            {"train_neg_cos_sim": loss, "train_z_std": std},
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch[2]),
        )
        return loss + out["loss"]

    def _with_heads(self, out: Out) -> Out:
        z = self.projector(out["feats"])
        return {**out, "z": z, "p": self.predictor(z)}
