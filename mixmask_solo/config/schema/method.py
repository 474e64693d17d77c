# SPDX-License-Identifier: MIT
"""``method_kwargs`` of each method, and ``momentum``."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option
from mixmask_solo.config.schema.heads import HEADS, Predictor, Projector
from mixmask_solo.config.schema.solo_methods import SOLO_METHOD_KWARGS


@dataclass
class _Contrastive(Projector):
    temperature: float = option(above=0.0)


@dataclass
class _SimCLR(_Contrastive):
    head: str = option("solo", choices=HEADS["simclr"])


@dataclass
class _MoCoV2Plus(_Contrastive):
    queue_size: int = option(65_536, low=1)


@dataclass
class _MoCoV2:
    """Official MoCo; the defaults are MoCo v2's on ImageNet (docs/moco.md tells every key)."""

    projector: Literal["linear", "mlp"] = "mlp"
    proj_hidden_dim: int | None = option(None, low=1, absent=True)
    proj_output_dim: int = option(128, low=1)
    temperature: float = option(0.2, above=0.0)
    queue_size: int = option(65_536, low=1)
    symmetric: bool = False
    shuffle: bool = True
    bn_splits: int = option(1, low=1)

    def validate(self, prefix: str) -> None:
        """Raises ConfigError where projector and hidden layer do not go together."""
        hidden = self.proj_hidden_dim
        if self.projector == "mlp" and hidden is None:
            raise ConfigError(
                f"{prefix}.proj_hidden_dim is missing: {prefix}.projector is mlp; give the width "
                "of its hidden layer (MoCo v2: 2048), or projector linear"
            )
        if self.projector == "linear" and hidden is not None:
            raise ConfigError(
                f"{prefix}.proj_hidden_dim is {hidden}: a linear projector has no hidden layer; "
                f"remove it, or set {prefix}.projector to mlp"
            )


@dataclass
class _SimSiam(Predictor):
    # solo-learn's own SimSiam files set it, though no loss there reads it
    temperature: float | None = option(None, above=0.0, absent=True)
    head: str = option("solo", choices=HEADS["simsiam"])


METHOD_KWARGS: dict[str, type[Any]] = {
    "byol": Predictor,
    "mocov2": _MoCoV2,
    "mocov2plus": _MoCoV2Plus,
    "simclr": _SimCLR,
    "simsiam": _SimSiam,
    **SOLO_METHOD_KWARGS,
}


@dataclass
class Momentum:
    """EMA of the momentum network; tau goes from ``base_tau`` to ``final_tau`` by a cosine.

    Args:
        base_tau: share of the old weights at the start.
        final_tau: the same at the end; equal to ``base_tau`` for a constant.
        classifier: trains an online classifier on the momentum features too.
    """

    base_tau: float = option(0.99, low=0.0, high=1.0)
    final_tau: float = option(1.0, low=0.0, high=1.0)
    classifier: bool = False

    def validate(self, prefix: str) -> None:
        """Raises ConfigError where tau would fall during training."""
        if self.base_tau > self.final_tau:
            raise ConfigError(
                f"{prefix}.base_tau is {self.base_tau}: it must not exceed "
                f"{prefix}.final_tau ({self.final_tau}); for a constant set both alike"
            )


@dataclass
class _MoCoMomentum(Momentum):
    """EMA of official MoCo: constant unless ``final_tau`` is given too."""

    base_tau: float = option(0.999, low=0.0, high=1.0)
    final_tau: float | None = option(None, low=0.0, high=1.0)  # type: ignore[assignment]

    def validate(self, prefix: str) -> None:
        """Completes ``final_tau``; raises ConfigError for what MoCo has not."""
        if self.final_tau is None:
            self.final_tau = self.base_tau
        super().validate(prefix)
        if self.classifier:
            raise ConfigError(
                f"{prefix}.classifier is true: mocov2 has no classifier on its key encoder "
                "(asymmetric, that never sees the first view); leave it out"
            )


MOMENTUM: dict[str, type[Momentum]] = {"mocov2": _MoCoMomentum}
"""Where a method's own defaults of ``momentum`` differ from solo-learn's."""
