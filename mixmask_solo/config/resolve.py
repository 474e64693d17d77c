# SPDX-License-Identifier: MIT
"""From what the user wrote to what a run reads: checked, defaults filled in, values derived."""

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config.check import check, literal, to_values, with_defaults
from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.rules import (
    MOMENTUM_METHODS,
    check_kwargs,
    check_mocov2,
    check_schedule,
    count_crops,
    count_devices,
    read_devices,
)
from mixmask_solo.config.schema import (
    METHOD_KWARGS,
    MOMENTUM,
    OPTIMIZER_KWARGS,
    Detect,
    Finetune,
    Linear,
    Momentum,
    Pretrain,
)


def resolve_pretrain(
    cfg: Any,
    *,
    blocks: Collection[str] = (),
    trainer_keys: Collection[str] = (),
    visible: int | None = None,
) -> DictConfig:
    """Checks a pretraining configuration and completes it.

    Derived as in solo-learn: ``optimizer.lr`` and ``classifier_lr`` times global batch / 256,
    ``data.num_large_crops``, ``data.num_small_crops``, ``data.num_classes`` where the data set
    tells it. ``cfg`` keeps the values as written; the result has no struct flag or interpolations.

    Args:
        blocks: names of strategies' blocks, allowed under ``method_kwargs`` and left alone.
        trainer_keys: further arguments of the trainer, allowed at the top and left alone.
        visible: accelerator devices of this machine, what ``auto`` and -1 mean; None if unknown.

    Raises:
        ConfigError: one line, before any data is read.
    """
    values, run = _read(cfg, Pretrain, trainer_keys)
    written = values.get("method_kwargs")
    kwargs = check(written, METHOD_KWARGS[run.method], "method_kwargs", extra=blocks)
    large, small = count_crops(run.augmentations, run.method)
    batch = _finish(run, visible)
    check_kwargs(run.method, kwargs, batch=batch, max_epochs=run.max_epochs, large=large)
    if run.method == "mocov2":
        check_mocov2(kwargs, written, run)
    run.name = run.name or f"{run.method}-{run.data.dataset}"
    result = with_defaults(values, run)
    result["method_kwargs"] = with_defaults(written, kwargs)
    if run.method in MOMENTUM_METHODS:
        momentum = check(run.momentum, MOMENTUM.get(run.method, Momentum), "momentum")
        result["momentum"] = with_defaults(run.momentum, momentum)
    elif run.momentum is not None:
        raise ConfigError(f"momentum is given: {run.method} has no momentum network; remove it")
    result["data"].update(num_large_crops=large, num_small_crops=small)
    if run.data.val_path is not None or run.data.dataset == "digits":
        result["optimizer"]["classifier_lr"] *= batch / 256
    return _scaled(result, batch)


def resolve_linear(
    cfg: Any, *, trainer_keys: Collection[str] = (), visible: int | None = None
) -> DictConfig:
    """Checks a probe's configuration and completes it, as :func:`resolve_pretrain` does."""
    values, run = _read(cfg, Linear, trainer_keys)
    batch = _finish(run, visible)
    run.name = run.name or f"linear-{run.data.dataset}"
    return _scaled(with_defaults(values, run), batch)


def resolve_finetune(
    cfg: Any, *, trainer_keys: Collection[str] = (), visible: int | None = None
) -> DictConfig:
    """Checks a fine-tuning's configuration and completes it; both of its rates are scaled."""
    values, run = _read(cfg, Finetune, trainer_keys)
    batch = _finish(run, visible)
    run.name = run.name or f"finetune-{run.data.dataset}"
    result = with_defaults(values, run)
    result["optimizer"]["classifier_lr"] *= batch / 256
    return _scaled(result, batch)


def resolve_detect(
    cfg: Any, *, trainer_keys: Collection[str] = (), visible: int | None = None
) -> DictConfig:
    """Checks a detection run's configuration and completes it.

    Its epochs are rounds of ``eval_every`` steps, whatever the number of images; ``max_epochs``,
    which nobody gives, counts them. The learning rate stays as it is written. Raises ConfigError.
    """
    values, run = _read(cfg, Detect, {*trainer_keys} - {"max_epochs", "overfit_batches"})
    run.devices = read_devices(run.devices, run.accelerator, visible)
    run.name = run.name or f"detect-{run.data.dataset}"
    result = with_defaults(values, run)
    result["max_epochs"] = run.max_steps // run.eval_every
    return OmegaConf.create(literal(result))


def _read(cfg: Any, schema: type[Any], extra: Collection[str]) -> tuple[Any, Any]:
    values = to_values(cfg)
    wandb = values.get("wandb") if isinstance(values, dict) else None
    if isinstance(wandb, dict) and wandb.get("entity") == "None":
        wandb["entity"] = None  # solo-learn's own files say None, and it reads that as null
    run = check(values, schema, "", extra=extra)
    optimizer = run.optimizer
    kwargs = check(optimizer.kwargs, OPTIMIZER_KWARGS[optimizer.name], "optimizer.kwargs")
    optimizer.kwargs = with_defaults(optimizer.kwargs, kwargs)
    return values, run


def _finish(run: Any, visible: int | None) -> int:
    """Completes schedule and devices in place; returns the global batch size."""
    scheduler = run.scheduler
    check_schedule(scheduler, run.max_epochs)
    if scheduler.lr_decay_steps is not None:
        counted = [s + run.max_epochs if s < 0 else s for s in scheduler.lr_decay_steps]
        scheduler.lr_decay_steps = [step for step in counted if step > 0]
    run.devices = read_devices(run.devices, run.accelerator, visible)
    processes = count_devices(run.devices, visible) * run.num_nodes
    return int(run.optimizer.batch_size * processes)


def _scaled(result: dict[str, Any], batch: int) -> DictConfig:
    lr = result["optimizer"]["lr"]
    scale = batch / 256
    result["optimizer"]["lr"] = [x * scale for x in lr] if isinstance(lr, list) else lr * scale
    return OmegaConf.create(literal(result))
