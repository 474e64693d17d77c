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

**Shuffling.** Keys are encoded in a random order (see ``moco_passes.py``), drawn for each key batch
from (seed, epoch, batch index): a resumed run repeats it.

Sources: He et al., "Momentum Contrast for Unsupervised Visual Representation Learning"; Chen et
al., "Improved Baselines with Momentum Contrastive Learning"; the symmetric form is MoCo's CIFAR
demo and Un-Mix's CIFAR code.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from mixmask_solo.config import check
from mixmask_solo.config.check import to_values, with_defaults
from mixmask_solo.config.rules import check_mocov2, require_two_views
from mixmask_solo.config.schema import METHOD_KWARGS, MOMENTUM
from mixmask_solo.methods.moco_passes import MoCoStep, Permutations, encode_shuffled
from mixmask_solo.networks import KeyQueue, PassStatistics, split_batch_norm
from mixmask_solo.objectives import gather_keys, info_nce_from_lse, shared_queue_lse, upcast
from mixmask_solo.strategies import Step, blocks

if TYPE_CHECKING:  # stands for either host's
    from mixmask_solo.host import Host
    from mixmask_solo.host.builtin import BaseMomentumMethod as _Host
else:
    _Host = object


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
        return _with_unit_z(super().forward(X), self.projector)

    @torch.no_grad()
    def momentum_forward(self, X: Tensor) -> dict[str, Tensor]:
        """Adds ``z (N, D)``, unit rows: the keys of ``X``, in its order.

        In training the images are encoded shuffled, over all processes, each call otherwise.
        """
        host_forward = super().momentum_forward

        def encode(x: Tensor) -> dict[str, Tensor]:
            return _with_unit_z(host_forward(x), self.momentum_projector)

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
            lse = shared_queue_lse(self.queue, queries, t)
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


def _with_unit_z(out: dict[str, Tensor], projector: nn.Module) -> dict[str, Tensor]:
    return {**out, "z": F.normalize(upcast(projector(out["feats"])), dim=-1)}


def mocov2(host: Host) -> type[Any]:
    """``MoCoV2`` over the base that brings backbone, classifier, optimiser, moving average."""
    step_base = type("MoCoStepBase", (MoCoStep, host.base_momentum), {})

    def add_and_assert_specific_cfg(cfg: Any) -> Any:
        """MoCo's defaults and checks, then the host's."""
        return host.base_momentum.add_and_assert_specific_cfg(complete_mocov2(cfg))

    attributes = {
        "__doc__": MoCoV2.__doc__,
        "step_base": step_base,
        "add_and_assert_specific_cfg": staticmethod(add_and_assert_specific_cfg),
    }
    return type("MoCoV2", (MoCoV2, step_base), attributes)


def complete_mocov2(cfg: Any) -> DictConfig:
    """A copy of ``cfg`` with every key of ``method_kwargs`` and ``momentum``.

    Our commands have done this before (``resolve_pretrain``); solo-learn's have not.

    Raises:
        ConfigError: for a wrong key or value, or other views than two large ones.
    """
    values = to_values(cfg)
    written, momentum = values.get("method_kwargs"), values.get("momentum")
    kwargs = check(written, METHOD_KWARGS["mocov2"], "method_kwargs", extra=blocks())
    check_mocov2(kwargs, written, cfg)
    require_two_views("mocov2", cfg.data.num_large_crops, cfg.data.num_small_crops)
    result = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(result, DictConfig)
    result.method_kwargs = with_defaults(written, kwargs)
    result.momentum = with_defaults(momentum, check(momentum, MOMENTUM["mocov2"], "momentum"))
    return result
