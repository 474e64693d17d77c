# SPDX-License-Identifier: MIT
"""From a module's options to optimiser and learning rates; methods and probes share this.

Rates are closed forms of the step, so that a resumed run needs no history of them.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from timm.optim import Lars
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mixmask_solo.host.builtin.defaults import one_of

Group = dict[str, Any]
_OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "lars": Lars, "adam": Adam, "adamw": AdamW}
SCHEDULERS = ("warmup_cosine", "cosine", "cosine_from_one", "step", "warmup_step", "none")
_CHOOSES_KERNEL = ("fused", "foreach", "differentiable", "capturable")


def read_options(module: Any, cfg: DictConfig) -> None:
    """Sets solo-learn's attributes on ``module``; ValueError for a schedule that is unknown."""
    module.max_epochs = cfg.max_epochs
    module.accumulate_grad_batches = cfg.accumulate_grad_batches or 1
    module.optimizer = cfg.optimizer.name
    module.lr = cfg.optimizer.lr
    module.weight_decay = cfg.optimizer.weight_decay
    module.extra_optimizer_args = OmegaConf.to_container(cfg.optimizer.kwargs, resolve=True)
    module.exclude_bias_n_norm_wd = cfg.optimizer.exclude_bias_n_norm_wd

    scheduler = cfg.scheduler
    module.scheduler = str(scheduler.name).lower()
    module.lr_decay_steps = list(scheduler.lr_decay_steps or ())
    module.lr_gamma = scheduler.gamma
    module.min_lr = scheduler.min_lr
    module.warmup_start_lr = scheduler.warmup_start_lr
    module.warmup_epochs = scheduler.warmup_epochs
    module.scheduler_interval = scheduler.interval
    one_of("scheduler.name", module.scheduler, SCHEDULERS)
    one_of("scheduler.interval", module.scheduler_interval, ("step", "epoch"))


def configure_optimizers(module: Any, groups: list[Group]) -> Any:
    """What Lightning's hook of the same name returns.

    ``module`` has the attributes of :func:`read_options` and is attached to a trainer;
    ``static_lr: True`` keeps a group's rate constant, a group's own ``gamma`` stands for the
    module's.
    """
    if module.exclude_bias_n_norm_wd:
        groups = exclude_bias_and_norm(groups)
    rates = {"lr": module.lr, "weight_decay": module.weight_decay}
    # Lightning refuses to clip the gradients of a fused optimiser in mixed precision.
    allow_fused = not getattr(module._trainer, "gradient_clip_val", None)
    kwargs = {**rates, **module.extra_optimizer_args}
    optimizer = build_optimizer(module.optimizer, groups, allow_fused=allow_fused, **kwargs)
    groups = optimizer.param_groups
    static = tuple(i for i, group in enumerate(groups) if group.pop("static_lr", False))
    gammas = [group.pop("gamma", module.lr_gamma) for group in groups]
    if module.scheduler == "none":
        return optimizer
    schedule, interval = schedule_of(module)
    scheduler = ScheduledLR(optimizer, schedule, static, gammas)
    return [optimizer], [{"scheduler": scheduler, "interval": interval, "frequency": 1}]


def build_optimizer(
    name: str, groups: list[Group], *, allow_fused: bool, **kwargs: Any
) -> Optimizer:
    """An optimiser over parameter groups.

    ``allow_fused`` tries the fused kernels of SGD, Adam, AdamW; the user's ``fused`` or ``foreach``
    among ``kwargs`` wins. For ``lars`` these are solo-learn's.

    Raises:
        ValueError: for an unknown name.
    """
    one_of("optimizer.name", name, _OPTIMIZERS)
    if name == "lars":
        return _lars(groups, **kwargs)
    make: Callable[..., Optimizer] = _OPTIMIZERS[name]
    dtypes = {p.dtype for group in groups for p in group["params"]}
    fusable = allow_fused and dtypes <= {torch.float32, torch.float64}
    if fusable and not any(key in kwargs for key in _CHOOSES_KERNEL):
        try:
            return make(groups, **kwargs, fused=True)
        except (RuntimeError, TypeError):  # this device, or this version of torch, has none
            pass
    return make(groups, **kwargs)


def exclude_bias_and_norm(groups: list[Group]) -> list[Group]:
    """Splits each group: biases and norm layers (one axis at most) go without weight decay."""
    return _split(groups, lambda p: p.ndim <= 1, "_no_decay", weight_decay=0)


def _lars(
    groups: list[Group],
    *,
    eta: float = 1e-3,
    clip_lr: bool = False,
    exclude_bias_n_norm: bool = False,
    **kwargs: Any,
) -> Optimizer:
    """timm's LARS; as in solo-learn every tensor adapts, whatever its weight decay.

    With ``exclude_bias_n_norm`` those of one axis take plain steps without any decay. (Where a
    gradient is exactly zero timm still decays the weights and solo-learn does not.)
    """
    if exclude_bias_n_norm:
        plain = {"weight_decay": 0, "always_adapt": False}
        groups = _split(groups, lambda p: p.ndim == 1, "_no_adapt", **plain)
    return Lars(groups, trust_coeff=eta, trust_clip=clip_lr, always_adapt=True, **kwargs)


def own_lars(name: str, settings: dict[str, Any]) -> Optimizer:
    """SGD in LARS over ``params`` alone, whatever the method's optimiser; biases and norms plain.

    ``settings`` has ``params``, ``lr``, ``weight_decay``, ``momentum`` and ``eta``.
    """
    kwargs = {**settings, "clip_lr": True, "exclude_bias_n_norm": True}
    return _lars([{"name": name, "params": kwargs.pop("params")}], **kwargs)


def _split(
    groups: list[Group], chosen: Callable[[Tensor], bool], suffix: str, **settings: Any
) -> list[Group]:
    """Each group without the chosen parameters, and one of these with ``settings``; none empty."""
    parts = []
    for group in groups:
        params = list(group["params"])
        picked = {**group, "params": [p for p in params if chosen(p)], **settings}
        if "name" in group:
            picked["name"] = group["name"] + suffix
        parts += [{**group, "params": [p for p in params if not chosen(p)]}, picked]
    return [part for part in parts if part["params"]]


@dataclass(frozen=True)
class Schedule:
    """One learning rate over time; all counts in the unit (steps or epochs) it is stepped in."""

    warmup: float = 0.0  # length of the linear warm-up; may be fractional
    total: float = 1.0  # length of the whole schedule, where the cosine ends at ``min_lr``
    start_lr: float = 0.0  # rate at 0, with a warm-up
    min_lr: float = 0.0
    milestones: tuple[float, ...] | None = None  # times ``gamma`` from each on; no cosine then
    gamma: float = 0.1

    def lr(self, base: float, at: int) -> float:
        """Rate of a group with base rate ``base`` at step or epoch ``at``."""
        if at < self.warmup:  # reaches ``base`` one before its end and rests there, as solo-learn's
            risen = min(at / (self.warmup - 1), 1.0) if at and self.warmup > 1 else 0.0
            return self.start_lr + (base - self.start_lr) * risen
        if self.milestones is not None:
            return base * self.gamma ** bisect_right(self.milestones, at)
        span = max(self.total - self.warmup, 1e-12)
        progress = min((at - self.warmup) / span, 1.0)
        return self.min_lr + (base - self.min_lr) * (1 + math.cos(math.pi * progress)) / 2


class ScheduledLR(LRScheduler):
    """Applies a :class:`Schedule` to every group of an optimiser, whose rates are the base rates.

    The ``static`` groups (SimSiam's predictor), given by index, keep theirs; as in solo-learn their
    very first step is part of the warm-up. ``gammas``, one a group, take the schedule's place.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedule: Schedule,
        static: tuple[int, ...] = (),
        gammas: Sequence[float] = (),
    ) -> None:
        self.schedule, self.static = schedule, static
        gammas = gammas or [schedule.gamma] * len(optimizer.param_groups)
        self._own = [replace(schedule, gamma=gamma) for gamma in gammas]
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        at = self.last_epoch
        return [
            base if i in self.static and at > 0 else self._own[i].lr(base, at)
            for i, base in enumerate(map(float, self.base_lrs))
        ]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers only, so that checkpoints load with ``weights_only=True``."""
        keys = ("base_lrs", "last_epoch", "_step_count", "_last_lr")
        return {key: getattr(self, key) for key in keys}


def schedule_of(module: Any) -> tuple[Schedule, str]:
    """A module's schedule and the unit it is stepped in; configured are epochs throughout."""
    # solo-learn steps milestones once an epoch whatever the interval says.
    interval = "epoch" if module.scheduler == "step" else module.scheduler_interval
    steps = 1.0
    if interval == "step":
        steps = module.trainer.estimated_stepping_batches / module.max_epochs
    warm = module.scheduler.startswith("warmup")
    milestones = None
    if module.scheduler.endswith("step"):
        milestones = tuple(sorted(epoch * steps for epoch in module.lr_decay_steps))
    shift = 1.0 if module.scheduler == "cosine_from_one" else 0.0
    schedule = Schedule(
        warmup=module.warmup_epochs * steps if warm else -shift,
        total=module.max_epochs * steps - shift,
        start_lr=module.warmup_start_lr,
        min_lr=module.min_lr,
        milestones=milestones,
        gamma=module.lr_gamma,
    )
    return schedule, interval
