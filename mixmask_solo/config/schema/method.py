# SPDX-License-Identifier: MIT
"""``method_kwargs`` of each method, and ``momentum``."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option

HEADS = {"simclr": ("solo", "htdt", "google"), "simsiam": ("solo", "patrickhua")}
"""Choices of ``method_kwargs.head`` by method; the first is the default."""


@dataclass
class Projector:
    """Behind the backbone."""

    proj_hidden_dim: int = option(low=1)
    proj_output_dim: int = option(low=1)


@dataclass
class Predictor(Projector):
    """Behind the projector."""

    pred_hidden_dim: int = option(low=1)


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


@dataclass(kw_only=True)
class _Queue:
    queue_size: int = option(65_536, low=1)


@dataclass(kw_only=True)
class _MoCoV3(Predictor):
    temperature: float = option(above=0.0)


@dataclass(kw_only=True)
class _Neighbours(_Queue, Predictor):
    pass


@dataclass(kw_only=True)
class _NNCLR(_Neighbours):
    temperature: float = option(above=0.0)


@dataclass(kw_only=True)
class _ReSSL(_Queue, Projector):
    temperature_q: float = option(above=0.0)
    temperature_k: float = option(above=0.0)
    # solo-learn's own ReSSL files set these three, though nothing there reads them
    base_tau_momentum: float | None = option(None, absent=True)
    final_tau_momentum: float | None = option(None, absent=True)
    momentum_classifier: bool | None = option(None, absent=True)


@dataclass(kw_only=True)
class _BarlowTwins(Projector):
    lamb: float = option(0.0051, low=0.0)
    scale_loss: float = option(0.024, above=0.0)


@dataclass(kw_only=True)
class _VICReg(Projector):
    sim_loss_weight: float = option(25.0, low=0.0)
    var_loss_weight: float = option(25.0, low=0.0)
    cov_loss_weight: float = option(1.0, low=0.0)


@dataclass(kw_only=True)
class _SwAV(Projector):
    temperature: float = option(above=0.0)
    queue_size: int = option(65_536, low=0)  # 0: no queue
    num_prototypes: int = option(3000, low=1)
    sk_epsilon: float = option(0.05, above=0.0)
    sk_iters: int = option(3, low=1)
    freeze_prototypes_epochs: int = option(1, low=0)
    epoch_queue_starts: int = option(15, low=0)


@dataclass(kw_only=True)
class _DINO(Projector):
    num_prototypes: int = option(low=1)
    clip_grad: float = option(0.0, low=0.0)
    freeze_last_layer: int = option(1, low=0)
    norm_last_layer: bool = True
    use_bn_in_head: bool = False
    student_temperature: float = option(0.1, above=0.0)
    teacher_temperature: float = option(0.07, above=0.0)
    warmup_teacher_temperature: float = option(0.04, above=0.0)
    warmup_teacher_temperature_epochs: int = option(0, low=0)


METHOD_KWARGS: dict[str, type[Any]] = {
    "byol": Predictor,
    "mocov2": _MoCoV2,
    "mocov2plus": _MoCoV2Plus,
    "simclr": _SimCLR,
    "simsiam": _SimSiam,
    # what solo-learn alone has
    "barlow_twins": _BarlowTwins,
    "dino": _DINO,
    "mocov3": _MoCoV3,
    "nnbyol": _Neighbours,
    "nnclr": _NNCLR,
    "nnsiam": _Neighbours,
    "ressl": _ReSSL,
    "swav": _SwAV,
    "vicreg": _VICReg,
}


@dataclass
class Momentum:
    """EMA of the momentum network; tau, the old weights' share, changes by a cosine."""

    base_tau: float = option(0.99, low=0.0, high=1.0)  # at the start
    final_tau: float = option(1.0, low=0.0, high=1.0)  # at the end
    classifier: bool = False  # trains an online classifier on the momentum features too

    def validate(self, prefix: str) -> None:
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
