# SPDX-License-Identifier: MIT

"""``method_kwargs`` of the methods that solo-learn has and the built-in host has not."""

from dataclasses import dataclass
from typing import Any

from mixmask_solo.config.option import option
from mixmask_solo.config.schema.heads import Predictor, Projector


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


SOLO_METHOD_KWARGS: dict[str, type[Any]] = {
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
