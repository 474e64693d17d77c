# SPDX-License-Identifier: MIT
r"""Official MoCo: queries against keys of a slow encoder and one queue of earlier keys.

**Loss.** With :math:`\mathrm{NCE}(q, k)` the mean cross entropy over the own key and the queue as
it was before the step: asymmetric NCE(q¹, k²); symmetric the *sum* NCE(q¹, k²) + NCE(q², k¹). The
symmetric form enqueues [k¹; k²] once.

**Order.** Published is: query forwards, then the key encoder's moving average with the query
encoder's *current* weights, key forward, losses, queue, optimiser. Hosts move the average after
the optimiser's step instead. Between the end of one step and the average of the next nothing
changes the query encoder, so every key forward sees the same key encoder: the published average at
the start of step t + 1 and the host's at the end of step t use the same weights. They differ
before the first step, where both encoders are equal and the published average changes nothing, and
after the last, where the host makes one average more. The average takes parameters only;
BatchNorm's buffers in the key encoder come from its own forward passes, which stay in training
mode.

**Passes.** The published symmetric loop forwards view 1's mixtures once in each direction: x¹, m,
x², m. Here they are forwarded once, behind both views, with the same loss and gradient; the
running statistics move as published all the same (see ``networks/pass_statistics.py``).

**Shuffling.** Keys are encoded in a random order (see ``shuffle.py``), drawn for each key batch
from (seed, epoch, batch index): a resumed run repeats it.

Sources: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning"; Chen et
al., "Improved Baselines with Momentum Contrastive Learning"; the symmetric form is MoCo's CIFAR
demo and Un-Mix's CIFAR code.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mixmask_solo.methods.mocov2.options import complete_mocov2
from mixmask_solo.methods.mocov2.shuffle import Permutations, encode_shuffled
from mixmask_solo.methods.online_knn import feed_knn
from mixmask_solo.networks import KeyQueue, PassStatistics, split_batch_norm
from mixmask_solo.objectives import gather_keys, info_nce_from_lse, queue_lse, upcast
from mixmask_solo.strategies import Step

if TYPE_CHECKING:  # stands for either host's
    from mixmask_solo.host.builtin import BaseMomentumMethod as _Host
else:
    _Host = object


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


class MoCoV2(KeyQueue, _Host):
    """Official MoCo over a host's momentum base.

    Args:
        cfg: with ``method_kwargs: {projector, proj_hidden_dim, proj_output_dim, temperature,
            queue_size, symmetric, shuffle, bn_splits}``; docs/moco.md explains them.

    Raises:
        ValueError: for keys that do not fit, or a network whose BatchNorm cannot be split.
    """

    def __init__(self, cfg: Any) -> None:
        # solo-learn's bases read defaults from the very object they were given.
        super().__init__(complete_mocov2(cfg))
        kwargs = self.cfg.method_kwargs
        self.temperature: float = kwargs.temperature
        self.symmetric: bool = kwargs.symmetric
        self.shuffle: bool = kwargs.shuffle
        for backbone in (self.backbone, self.momentum_backbone):
            split_batch_norm(backbone, kwargs.bn_splits)
        self.projector = _projector(self.features_dim, kwargs)
        self.momentum_projector = deepcopy(self.projector).requires_grad_(False)
        self.add_queue(kwargs.proj_output_dim, kwargs.queue_size)
        self._permutations = self._permutations_of(0)

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Adds the projector."""
        projector = {"name": "projector", "params": list(self.projector.parameters())}
        return [*super().learnable_params, projector]

    @property
    def momentum_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        """Adds the projectors."""
        return [*super().momentum_pairs, (self.projector, self.momentum_projector)]

    def forward(self, X: Tensor) -> dict[str, Tensor]:
        """Adds ``z (N, D)``, unit rows: the queries."""
        out = super().forward(X)
        return {**out, "z": F.normalize(upcast(self.projector(out["feats"])), dim=-1)}

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Adds ``z (N, D)``, unit rows: the keys of ``X``, in its order.

        In training the images are encoded shuffled, over all processes, each call otherwise.
        """
        encode = partial(_keys, super().momentum_forward, self.momentum_projector)
        if self.training and self.shuffle:
            return encode_shuffled(encode, X, self._permutations)
        return encode(X)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """InfoNCE of the queries, then the queue moves.

        A class in between may leave ``out["queue_lse"]``, the log-sum-exp of each query batch over
        the queue, where it has computed it together with its own queries, and
        ``out["mixed_keys"]``, of each branch the views whose keys it has met.
        """
        self._permutations = self._permutations_of(batch_idx)
        if self.symmetric:
            with PassStatistics(self.backbone, self.projector) as passes:
                out = super().training_step(batch, batch_idx)
            passes.fold(_published_order(out.get("mixed_keys", ())))
        else:
            out = super().training_step(batch, batch_idx)
        queries, keys, t = out["z"], out["momentum_z"], self.temperature
        lse = out.get("queue_lse")
        if lse is None:
            lse = queue_lse(torch.cat(queries), self.queue, t).split(len(queries[0]))
        # A query of view 1 seeks the key of view 2, and the other way round.
        pairs = zip(queries, reversed(keys), lse, strict=True)
        loss = torch.stack([info_nce_from_lse(q, k, rows, t).mean() for q, k, rows in pairs]).sum()
        # The losses have done with the queue, their backward pass does not look at it again.
        self._dequeue_and_enqueue(torch.cat([gather_keys(k) for k in keys]))
        self.log("train_nce_loss", loss, on_epoch=True, sync_dist=True, batch_size=len(batch[2]))
        return loss + out["loss"]

    def _permutations_of(self, batch_idx: int) -> Permutations:
        seed, cpu = int(self.cfg.get("seed", 5)), torch.device("cpu")
        return Permutations(Step(seed, self.current_epoch, batch_idx, 0, cpu))


def _published_order(mixed_keys: Sequence[Sequence[int]]) -> list[int]:
    """Of our passes x¹, x², mixtures: each direction's query and the mixtures it contrasts."""
    order = []
    for view in (0, 1):
        mixtures = [2 + i for i, keys in enumerate(mixed_keys) if 1 - view in keys]
        order += [view, *mixtures]
    return order


def _projector(features_dim: int, kwargs: Any) -> nn.Module:
    out_dim = kwargs.proj_output_dim
    if kwargs.projector == "linear":
        return nn.Linear(features_dim, out_dim)
    hidden = kwargs.proj_hidden_dim
    return nn.Sequential(nn.Linear(features_dim, hidden), nn.ReLU(), nn.Linear(hidden, out_dim))


def _keys(backbone: Any, projector: nn.Module, x: Tensor) -> dict[str, Tensor]:
    out: dict[str, Tensor] = backbone(x)
    return {**out, "z": F.normalize(upcast(projector(out["feats"])), dim=-1)}


def _by_key(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [out[name] for out in outputs] for name in outputs[0]}
