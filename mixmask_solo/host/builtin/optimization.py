# SPDX-License-Identifier: MIT
"""From a module's options to its optimiser and schedule; methods and probes share this."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixmask_solo.host.builtin.optimizers import build_optimizer, exclude_bias_and_norm
from mixmask_solo.host.builtin.schedules import Schedule, ScheduledLR

__all__ = ["configure_optimizers", "read_options"]

SCHEDULERS = ("warmup_cosine", "cosine", "cosine_from_one", "step", "warmup_step", "none")


def read_options(module: Any, cfg: DictConfig) -> None:
    """Sets solo-learn's attributes of optimiser and schedule on ``module``.

    Raises:
        ValueError: for an unknown schedule or interval.
    """
    module.max_epochs = cfg.max_epochs
    module.accumulate_grad_batches = cfg.accumulate_grad_batches or 1
    module.optimizer = cfg.optimizer.name
    module.batch_size = cfg.optimizer.batch_size
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
    _one_of("scheduler.name", module.scheduler, SCHEDULERS)
    _one_of("scheduler.interval", module.scheduler_interval, ("step", "epoch"))


def configure_optimizers(module: Any, groups: list[dict[str, Any]]) -> Any:
    """What Lightning's hook of the same name returns.

    Args:
        module: with the attributes of :func:`read_options`, attached to a trainer.
        groups: parameter groups; ``static_lr: True`` keeps a group's rate constant.
    """
    if module.exclude_bias_n_norm_wd:
        groups = exclude_bias_and_norm(groups)
    optimizer = build_optimizer(
        module.optimizer,
        groups,
        lr=module.lr,
        weight_decay=module.weight_decay,
        # Lightning refuses to clip the gradients of a fused optimiser in mixed precision.
        # Outside of a trainer nothing clips.
        allow_fused=not getattr(module._trainer, "gradient_clip_val", None),
        **module.extra_optimizer_args,
    )
    static = []
    for i, group in enumerate(optimizer.param_groups):
        if group.pop("static_lr", False):
            static.append(i)
    if module.scheduler == "none":
        return optimizer
    schedule, interval = _schedule(module)
    scheduler = ScheduledLR(optimizer, schedule, tuple(static))
    return [optimizer], [{"scheduler": scheduler, "interval": interval, "frequency": 1}]


def _schedule(module: Any) -> tuple[Schedule, str]:
    """The schedule and the unit it is stepped in; configured are epochs throughout."""
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


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{key} is {value!r}: choose one of {', '.join(allowed)}")
