# SPDX-License-Identifier: MIT
"""From a module's options to its optimiser, with fused kernels; methods and probes share this."""

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from timm.optim import Lars
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from mixmask_solo.host.builtin.defaults import one_of
from mixmask_solo.host.builtin.schedules import SCHEDULERS, ScheduledLR, schedule_of

Group = dict[str, Any]
_OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "lars": Lars, "adam": Adam, "adamw": AdamW}
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
    ``static_lr: True`` keeps a group's rate constant.
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
    if module.scheduler == "none":
        return optimizer
    schedule, interval = schedule_of(module)
    scheduler = ScheduledLR(optimizer, schedule, static)
    return [optimizer], [{"scheduler": scheduler, "interval": interval, "frequency": 1}]


def build_optimizer(
    name: str, groups: list[Group], *, allow_fused: bool, **kwargs: Any
) -> Optimizer:
    """An optimiser over parameter groups.

    Args:
        groups: dicts with ``params`` and settings; ``name`` is kept by the optimiser.
        allow_fused: try the fused kernels of SGD, Adam, AdamW; the user's ``fused`` or ``foreach``
            among ``kwargs`` wins.
        kwargs: ``lr``, ``weight_decay`` and further arguments; for ``lars`` solo-learn's.

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
