# SPDX-License-Identifier: MIT
"""What official MoCo forwards of a batch, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from mixmask_solo.methods.online_knn import feed_knn

if TYPE_CHECKING:  # stands for either host's
    from mixmask_solo.host.builtin import BaseMomentumMethod as _Host
else:
    _Host = object

__all__ = ["MoCoStep"]


class MoCoStep(_Host):
    """The step under the mixin: two passes of an image (query, key), or four if symmetric.

    The hosts' own step forwards every view through both networks. MoCo v2 has a query of view 1
    and a key of view 2: half of those passes would be for nothing.
    """

    symmetric: bool

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Forwards queries, then keys, each in the published order: q¹, q²; k², k¹.

        Args:
            batch: ``[indexes (N,), [view_1, view_2] each (N, C, H, W), targets (N,)]``.
            batch_idx: index of the batch within the epoch.

        Returns:
            Lists ``feats``, ``logits``, ``z`` of view 1 (symmetric: of both), ``momentum_feats``,
            ``momentum_z`` of view 2 (of both); scalars ``loss`` (the classifier's), ``acc1``,
            ``acc5``.

        Raises:
            ValueError: for another number of views.
        """
        _, views, targets = batch
        if isinstance(views, Tensor) or len(views) != 2:
            n = 1 if isinstance(views, Tensor) else len(views)
            raise ValueError(f"the batch has {n} views: mocov2 wants exactly 2")
        queries, keys = (views, views) if self.symmetric else (views[:1], views[1:])
        out = _by_key([self.base_training_step(x, targets) for x in queries])
        momentum = _by_key([self.momentum_forward(x) for x in reversed(keys)])
        out.update({f"momentum_{name}": rows[::-1] for name, rows in momentum.items()})
        for name in ("loss", "acc1", "acc5"):
            out[name] = sum(out[name]) / len(queries)
        metrics = {
            "train_class_loss": out["loss"],
            "train_acc1": out["acc1"],
            "train_acc5": out["acc5"],
        }
        if hasattr(self, "log_labelled"):
            self.log_labelled(metrics, targets)
        else:  # solo-learn's own base
            self.log_dict(metrics, on_epoch=True, sync_dist=True)
        if self.knn_eval:
            feed_knn(self, out["feats"], targets)
        return out

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """Nothing: solo-learn forwards validation images here for a classifier MoCo has not."""
        return {}


def _by_key(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [out[name] for out in outputs] for name in outputs[0]}
