# SPDX-License-Identifier: MIT
"""Heads of the code bases behind the papers' small-image numbers, in place of solo-learn's.

``method_kwargs.head`` of SimCLR: ``solo``, or ``htdt`` (htdt/self-supervised: Linear, BN, ReLU,
Linear, and a BN of the embedding over *both* views at once). Of SimSiam: ``solo``, or
``patrickhua`` (PatrickHua/SimSiam's two-layer projector: Linear, BN, ReLU, Linear, BN). BYOL's
solo-learn head is htdt's already. ``solo`` changes nothing: same parameters, same random stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mixmask_solo.config import ConfigError
from mixmask_solo.config.nearest import did_you_mean, listing
from mixmask_solo.config.tables import HEADS

__all__ = ["BEHIND", "FRONT", "JointNorm", "SimCLRHead", "SimSiamHead", "check_head"]

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule as _Host
else:
    _Host = object


def check_head(method: str, cfg: Any) -> None:
    """Raises ConfigError for a head that the method does not have.

    The schema says the same to runs of ours; under solo-learn's own scripts nobody else asks.
    """
    head = (cfg.get("method_kwargs") or {}).get("head")
    known = HEADS.get(method, ("solo",))
    if head is not None and head not in known:
        choices = f"choose {listing(known)}{did_you_mean(str(head), known)}"
        advice = choices if method in HEADS else f"{method} has one head only; remove the key"
        raise ConfigError(f"method_kwargs.head is {head!r}: {advice}")


class SimCLRHead(_Host):
    """Before SimCLR: with ``head: htdt`` another projector and ``projector_norm`` behind it.

    In training mode ``forward`` gives ``z`` as the projector leaves it, since one view does not
    know the others; :class:`JointNorm` normalises them together. In evaluation mode ``forward``
    applies the running statistics.
    """

    projector_norm: nn.BatchNorm1d | None

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        module: Any = self
        kwargs = module.cfg.method_kwargs
        self.projector_norm = None
        if kwargs.get("head") == "htdt":
            out_dim = kwargs.proj_output_dim
            module.projector = nn.Sequential(
                *_two_layers(module.features_dim, kwargs.proj_hidden_dim, out_dim)
            )
            self.projector_norm = nn.BatchNorm1d(out_dim)

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the norm in that of the projector."""
        host: Any = super()
        groups: list[dict[str, Any]] = host.learnable_params
        for group in groups:
            if group["name"] == "projector" and self.projector_norm is not None:
                group["params"] = [*group["params"], *self.projector_norm.parameters()]
        return groups

    def forward(self, X: Tensor) -> dict[str, Any]:
        """The host's output, ``z (N, D)``."""
        return self._evaluated(super().forward(X))

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:
        """The same for small crops."""
        host: Any = super()
        return self._evaluated(host.multicrop_forward(X))

    def _evaluated(self, out: dict[str, Any]) -> dict[str, Any]:
        if self.projector_norm is None or self.training:
            return out
        return {**out, "z": self.projector_norm(out["z"])}


class JointNorm(_Host):
    """Between SimCLR's strategies and its base: the host's loss sees jointly normalised views."""

    projector_norm: nn.BatchNorm1d | None

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """The base's ``out``, ``z`` of all views normalised over their union.

        ``raw_z`` keeps what the projector gave, for pairs with mixed images.
        """
        out: Any = super().training_step(batch, batch_idx)
        if self.projector_norm is not None and self.training:
            out["raw_z"], out["z"] = out["z"], self.joint_norm(out["z"])
        return out

    def joint_norm(self, z: Sequence[Tensor]) -> list[Tensor]:
        """Batch norm over all rows of several ``(N, D)`` at once, running statistics moved."""
        assert self.projector_norm is not None
        joint: Tensor = self.projector_norm(torch.cat(list(z)))
        return list(joint.split([len(v) for v in z]))


class SimSiamHead(_Host):
    """Before SimSiam: with ``head: patrickhua`` a two-layer projector; the predictor stays."""

    def __init__(self, cfg: Any) -> None:
        super().__init__(cfg)
        module: Any = self
        kwargs = module.cfg.method_kwargs
        if kwargs.get("head") == "patrickhua":
            out_dim = kwargs.proj_output_dim
            module.projector = nn.Sequential(
                *_two_layers(module.features_dim, kwargs.proj_hidden_dim, out_dim),
                nn.BatchNorm1d(out_dim),
            )


FRONT: dict[str, type[Any]] = {"simclr": SimCLRHead, "simsiam": SimSiamHead}
"""Classes put before a method, which then may replace its projector."""

BEHIND: dict[str, type[Any]] = {"simclr": JointNorm}
"""Classes put behind the strategies, which see ``out`` before them and before the method."""


def _two_layers(in_dim: int, hidden_dim: int, out_dim: int) -> list[nn.Module]:
    return [
        nn.Linear(in_dim, hidden_dim),
        nn.BatchNorm1d(hidden_dim),
        nn.ReLU(),
        nn.Linear(hidden_dim, out_dim),
    ]
