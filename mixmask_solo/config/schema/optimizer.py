# SPDX-License-Identifier: MIT
"""``optimizer`` and ``scheduler``."""

from dataclasses import dataclass
from typing import Any, Literal

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.option import option

HEADS = ("optimizer.lr", "optimizer.weight_decay", "probe.normalize")
"""Keys of a probe that may hold several values: one head for each combination."""


def unlisted(value: Any) -> Any:
    """The item of a list of one; any other value as it is."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


@dataclass
class _Torch:
    eps: float | None = option(None, low=0.0, absent=True)
    foreach: bool | None = option(None, absent=True)
    fused: bool | None = option(None, absent=True)


@dataclass
class _Adam(_Torch):
    betas: list[float] | None = option(None, low=0.0, high=1.0, length=2, absent=True)
    amsgrad: bool | None = option(None, absent=True)


@dataclass
class _AdamW(_Adam):
    betas: list[float] | None = option([0.9, 0.999], low=0.0, high=1.0, length=2)


@dataclass
class _SGD:
    momentum: float = option(0.9, low=0.0, high=1.0)
    dampening: float | None = option(None, low=0.0, absent=True)
    nesterov: bool | None = option(None, absent=True)
    foreach: bool | None = option(None, absent=True)
    fused: bool | None = option(None, absent=True)


@dataclass
class _LARS:
    momentum: float = option(0.9, low=0.0, high=1.0)
    eta: float = option(1e-3, above=0.0)
    clip_lr: bool = False
    exclude_bias_n_norm: bool = False
    dampening: float | None = option(None, low=0.0, absent=True)
    nesterov: bool | None = option(None, absent=True)
    eps: float | None = option(None, low=0.0, absent=True)


OPTIMIZER_KWARGS: dict[str, type[Any]] = {
    "sgd": _SGD,
    "lars": _LARS,
    "adam": _Adam,
    "adamw": _AdamW,
}
_NAMES = tuple(OPTIMIZER_KWARGS)
_SCHEDULES = ("warmup_cosine", "cosine", "step", "warmup_step")


@dataclass
class Optimizer:
    """Optimiser of a pretraining run.

    Both rates are per 256 images of the global batch; the method multiplies them, and the ends of
    the schedule, by ``accumulate_grad_batches``.
    """

    name: str = option(choices=_NAMES)
    batch_size: int = option(low=2)  # of one process; BatchNorm and the losses need two
    lr: float = option(above=0.0)
    classifier_lr: float = option(low=0.0)
    weight_decay: float = option(0.0, low=0.0)
    exclude_bias_n_norm_wd: bool = False
    kwargs: dict[str, Any] = option({})


@dataclass
class LinearOptimizer:
    """Optimiser of a probe; each of several values (ours) is for heads of its own."""

    name: str = option(choices=_NAMES)
    batch_size: int = option(low=1)
    lr: float | list[float] = option(above=0.0, distinct=True)
    weight_decay: float | list[float] = option(0.0, low=0.0, distinct=True)
    exclude_bias_n_norm_wd: bool = False
    layer_decay: float = option(0.0, low=0.0, high=1.0)  # while fine-tuning only
    kwargs: dict[str, Any] = option({})

    def validate(self, prefix: str) -> None:
        self.lr, self.weight_decay = unlisted(self.lr), unlisted(self.weight_decay)


@dataclass
class FinetuneOptimizer:
    """Optimiser of fine-tuning: ``lr`` is the backbone's rate; both are per 256 images."""

    name: str = option(choices=_NAMES)
    batch_size: int = option(low=2)  # of one process; BatchNorm, which trains too, needs two
    lr: float = option(above=0.0)
    classifier_lr: float = option(above=0.0)
    weight_decay: float = option(0.0, low=0.0)
    exclude_bias_n_norm_wd: bool = False
    kwargs: dict[str, Any] = option({})


@dataclass
class Scheduler:
    """solo-learn's ``warmup_cosine``, ``step``, ``none``; the others are ours.

    ``cosine`` starts at the full rate; ``cosine_from_one`` counts from 1, as the MoCo demo counts
    its epochs, so that the last epoch (or step) runs at ``min_lr``.
    """

    name: str = option(choices=(*_SCHEDULES, "cosine_from_one", "none"))
    min_lr: float = option(0.0, low=0.0)  # where a cosine ends
    warmup_start_lr: float = option(3e-5, low=0.0)
    warmup_epochs: float = option(10.0, low=0.0)  # fractions count with ``interval: step``
    lr_decay_steps: list[int] | None = None  # epochs; a negative one (ours) counts from the end
    interval: Literal["step", "epoch"] = "step"
    gamma: float = option(0.1, above=0.0, high=1.0)  # ours: factor at each decay step

    def validate(self, prefix: str) -> None:
        if self.name in ("step", "warmup_step") and not self.lr_decay_steps:
            what = "missing" if self.lr_decay_steps is None else "empty"
            raise ConfigError(
                f"{prefix}.lr_decay_steps is {what}: {self.name} needs the epochs at which "
                "to lower the rate, e.g. [60, 80]"
            )


@dataclass
class LinearScheduler(Scheduler):
    """The same for a probe, whose rate may also fall by a constant factor each epoch (ours)."""

    name: str = option(choices=(*_SCHEDULES, "exponential", "none"))

    def validate(self, prefix: str) -> None:
        super().validate(prefix)
        if self.name == "exponential" and self.min_lr <= 0:
            raise ConfigError(
                f"{prefix}.min_lr is {self.min_lr:g}: an exponential decay ends above 0, e.g. 1e-6"
            )
