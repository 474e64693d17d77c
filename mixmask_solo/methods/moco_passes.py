# SPDX-License-Identifier: MIT
"""Official MoCo's passes through its two networks: which of them, and with shuffled keys.

Shuffled means that the key encoder never norms an image together with its query's batch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mixmask_solo.objectives import gather_keys
from mixmask_solo.objectives.distributed import rank, world_size
from mixmask_solo.strategies import Step

_Host: Any = object  # stands for either host's

Encode = Callable[[Tensor], dict[str, Tensor]]


class Permutations:
    """One permutation after the other for the key batches of a step, the same on all ranks."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._drawn = 0

    def next(self, n: int, device: torch.device) -> Tensor:
        """``(n,)`` int64 on ``device``; drawn on the CPU, so that no rank waits for its device."""
        generator = self._step.shared(f"mocov2.shuffle.{self._drawn}")
        self._drawn += 1
        order = torch.randperm(n, generator=generator)
        return order.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else order


@torch.no_grad()
def encode_shuffled(encode: Encode, x: Tensor, permutations: Permutations) -> dict[str, Tensor]:
    """Encodes the images of all processes in another order; every process gets its own rows back.

    In one process the images ``x (N, C, H, W)`` only change their groups of split BatchNorm. In W
    processes all are gathered, so that each encodes N that were drawn from all ranks. One of the
    step's permutations is used up.
    """
    n, everything = len(x), gather_keys(x)
    order = permutations.next(n * world_size(), x.device)
    mine = slice(rank() * n, (rank() + 1) * n)
    out = encode(everything[order[mine]])
    back = order.argsort()[mine]
    return {name: gather_keys(rows)[back] for name, rows in out.items()}


class MoCoStep(_Host):
    """The step under the mixin: two passes of an image (query, key), or four if symmetric.

    The hosts' own step forwards every view through both networks. MoCo v2 has a query of view 1
    and a key of view 2: half of those passes would be for nothing.
    """

    symmetric: bool

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Forwards queries, then keys, each in the published order: q¹, q²; k², k¹.

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
        metrics = {}
        for name, logged in {"loss": "class_loss", "acc1": "acc1", "acc5": "acc5"}.items():
            metrics[f"train_{logged}"] = out[name] = sum(out[name]) / len(queries)
        if hasattr(self, "log_labelled"):
            self.log_labelled(metrics, targets)
        else:  # solo-learn's own base
            self.log_dict(metrics, on_epoch=True, sync_dist=True)
        if self.knn_eval:
            feats, repeated = torch.cat(out["feats"]), targets.repeat(len(queries))
            self.knn.update(train_features=feats, train_targets=repeated)
        return out

    def _shared_step_momentum(self, X: Tensor, targets: Tensor) -> dict[str, Any]:
        """Nothing: solo-learn forwards validation images here for a classifier MoCo has not."""
        return {}


def _by_key(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [out[name] for out in outputs] for name in outputs[0]}
