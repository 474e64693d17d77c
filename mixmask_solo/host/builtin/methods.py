# SPDX-License-Identifier: MIT
"""The four methods as solo-learn has them: networks on top of the backbone, and the loss."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.host.builtin.base import BaseMethod, Out
from mixmask_solo.host.builtin.momentum import BaseMomentumMethod, momentum_copy
from mixmask_solo.networks import KeyQueue
from mixmask_solo.objectives import (
    byol,
    gather_keys,
    info_nce_from_lse,
    queue_lse,
    simclr,
    simsiam,
    upcast,
)


def mlp(*widths: int, norm: bool = False, bias: bool = True) -> nn.Sequential:
    """Linear, BatchNorm if ``norm`` and ReLU for each hidden width, then a Linear with a bias.

    Indexes are those of solo-learn's state_dict.
    """
    layers: list[nn.Module] = []
    for width, hidden in pairwise(widths[:-1]):
        layers.append(nn.Linear(width, hidden, bias=bias))
        layers += [nn.BatchNorm1d(hidden), nn.ReLU()] if norm else [nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


@torch.no_grad()
def z_std(z: Sequence[Tensor]) -> Tensor:
    """Mean standard deviation over the batch of unit-length projections, each ``(N, D)``.

    About ``1/sqrt(D)`` for spread projections, 0 for collapsed ones.
    """
    unit = F.normalize(upcast(torch.stack(list(z))), dim=-1)
    return unit.std(dim=1).mean()


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
        losses = [byol(out["p"][w], targets[v]).mean() for w, v in pairs]
        loss = torch.stack(losses).sum()
        std = z_std(out["z"][: self.num_large_crops])
        figures = {"train_neg_cos_sim": loss, "train_z_std": std}
        self.log_dict(figures, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]


class MoCoV2Plus(BaseMomentumMethod, KeyQueue):
    """MoCo v2 with a symmetric loss and a queue for each view, as in solo-learn."""

    needs = ("proj_hidden_dim", "proj_output_dim", "temperature")
    heads: ClassVar = {"projector": {}}
    defaults = BaseMomentumMethod.defaults | {"method_kwargs": {"queue_size": 65536}}

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        kwargs = self.cfg.method_kwargs
        self.temperature: float = kwargs.temperature
        out_dim = kwargs.proj_output_dim
        self.projector = mlp(self.features_dim, kwargs.proj_hidden_dim, out_dim)
        self.momentum_projector = momentum_copy(self.projector)
        self.add_queue(2, out_dim, kwargs.queue_size)  # queue[v] holds keys of view v

    def project(self, feats: Tensor) -> Out:
        return {"z": F.normalize(upcast(self.projector(feats)), dim=-1)}

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> Out:
        """Adds ``z (N, D)``, unit rows: the keys."""
        out = super().momentum_forward(X)
        return {**out, "z": F.normalize(upcast(self.momentum_projector(out["feats"])), dim=-1)}

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Mean of both directions of InfoNCE; a query of view 1 meets the queue of view 2.

        ``out["queue_lse"]``, the log-sum-exp of view 1's queries on ``queue[1]`` and of view 2's
        on ``queue[0]``, is taken if a class in between has computed it with its own queries.
        """
        out = super().training_step(batch, batch_idx)
        (q1, q2), (k1, k2), t = out["z"], out["momentum_z"], self.temperature
        lse = out.get("queue_lse")
        if lse is None:
            lse = queue_lse(q1, self.queue[1], t), queue_lse(q2, self.queue[0], t)
        loss = info_nce_from_lse(q1, k2, lse[0], t).mean()
        loss = (loss + info_nce_from_lse(q2, k1, lse[1], t).mean()) / 2
        # The losses have done with the queue, their backward pass does not look at it again.
        self._dequeue_and_enqueue(torch.stack((gather_keys(k1), gather_keys(k2))))
        self.log("train_nce_loss", loss, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]


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
        loss = simclr(torch.cat(out["z"]), indexes, self.temperature)
        self.log("train_nce_loss", loss, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]


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
        loss = (simsiam(p1, z2).mean() + simsiam(p2, z1).mean()) / 2
        figures = {"train_neg_cos_sim": loss, "train_z_std": z_std(out["z"])}
        self.log_dict(figures, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]


METHODS: dict[str, type[BaseMethod]] = {
    "byol": BYOL,
    "mocov2plus": MoCoV2Plus,
    "simclr": SimCLR,
    "simsiam": SimSiam,
}
