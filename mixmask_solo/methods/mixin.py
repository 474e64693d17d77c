# SPDX-License-Identifier: MIT
"""The one mixin that brings strategies into a host's method.

It stands *between* the concrete method and the host's base class, so that it sees ``out`` (per
view: ``feats``, ``z``, ``p``, ``momentum_z``, ...) before the method adds its own loss and before
MoCo's queue moves::

    class MixMaskBYOL(BYOL, <mixin over BaseMomentumMethod>)
    # BYOL -> mixin -> BaseMomentumMethod -> BaseMethod

In any other place it would fail in silence (no momentum projections, or never called), hence the
check when a class is built. Without a strategy's block it hands everything through untouched: same
loss, same gradients, same random stream.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mixmask_solo.methods.families import Family, Mixed
from mixmask_solo.strategies import Branch, Step, Strategy, build_strategies

__all__ = ["BranchesMixin"]

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule as _Host
else:
    _Host = object


class BranchesMixin(_Host):
    """Applies the strategies of ``cfg.method_kwargs`` around the host's forward passes."""

    family: Family
    cfg: Any
    momentum_forward: Any  # of the host's momentum base, where there is one

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        self.strategies: list[Strategy] = build_strategies(self.cfg)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Forwards views and mixtures.

        Args:
            batch: ``[indexes (N,), [view_1, ..., view_V] each (N, C, H, W), targets (N,)]``.
            batch_idx: index of the batch within the epoch.

        Returns:
            The host's ``out`` with the mixture losses added to ``out["loss"]``.
        """
        if not self.strategies:
            return super().training_step(batch, batch_idx)
        indexes, views, targets = batch
        views = [views] if isinstance(views, Tensor) else list(views)
        step = self._step(batch_idx, views[0].device)
        for strategy in self.strategies:
            views = strategy.views(views, step)
        branches = [b for strategy in self.strategies for b in strategy.branches(views, step)]
        out: Any = super().training_step([indexes, views, targets], batch_idx)
        if branches:
            out["loss"] = out["loss"] + self._mixture_loss(out, branches)
        return out

    def _mixture_loss(self, out: dict[str, Any], branches: list[Branch]) -> Tensor:
        mixed = [Mixed(b, self(b.mixture.images), self._momentum_z(b)) for b in branches]
        losses = self.family.losses(self, out, mixed)
        metrics: dict[str, Tensor] = {}
        for branch, loss in zip(branches, losses, strict=True):
            metrics[f"train_{branch.name}_loss"] = loss.detach()
            metrics[f"train_{branch.name}_lam"] = branch.mixture.lam.mean()
        weights = [branch.weight for branch in branches]
        total = torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum()
        metrics["train_mixture_loss"] = total.detach()
        self.log_dict(metrics, on_epoch=True, sync_dist=True)
        return total

    def _momentum_z(self, branch: Branch) -> Any:
        """Momentum projection of the mixed images, computed at most once and only if asked for."""
        return cache(lambda: self.momentum_forward(branch.mixture.images)["z"])

    def _step(self, batch_idx: int, device: torch.device) -> Step:
        seed = int(self.cfg.get("seed", 5))
        return Step(seed, self.current_epoch, batch_idx, self.global_rank, device)
