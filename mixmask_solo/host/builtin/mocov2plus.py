# SPDX-License-Identifier: MIT
"""MoCo v2+: queries against the other view's momentum keys and a queue of older ones."""

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.host.builtin.base import Out
from mixmask_solo.host.builtin.heads import mlp
from mixmask_solo.host.builtin.momentum import BaseMomentumMethod, momentum_copy
from mixmask_solo.networks import KeyQueue
from mixmask_solo.objectives import gather_keys, info_nce_from_lse, queue_lse, upcast


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
