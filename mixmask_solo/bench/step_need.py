# SPDX-License-Identifier: MIT
"""How many images a second the training step of a configuration takes in."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.methods import get_methods

__all__ = ["make_step", "per_second", "random_batch", "step_rates"]

_CPU_BATCH = 32  # a ResNet-50 step of 256 takes minutes there; images/s hardly depend on it
_WARMUP = 3  # on a GPU, which chooses its kernels then


def step_rates(
    cfg: DictConfig, device: torch.device, *, seconds: float, repeats: int
) -> tuple[list[float], int]:
    """Images/s of whole training steps on random images that are on the device already.

    Args:
        cfg: a resolved pretraining configuration.
        device: where it trains.
        seconds: at least, of each of ``repeats`` measurements.

    Returns:
        The measurements, and the batch size they were made with.

    Raises:
        ConfigError: when the method cannot be built, or does not fit into the device's memory.
    """
    size = int(cfg.optimizer.batch_size)
    size = size if device.type == "cuda" else min(size, _CPU_BATCH)
    batch = random_batch(cfg, size, device)

    def one_step() -> int:
        step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return size

    try:
        step = make_step(cfg, device)
        for _ in range(_WARMUP if device.type == "cuda" else 1):
            step(batch)
        rates = [per_second(one_step, seconds) for _ in range(repeats)]
    except torch.cuda.OutOfMemoryError as error:
        raise ConfigError(
            f"optimizer.batch_size is {size}: a step does not fit into the memory of {device}; "
            "give less, or the images/s that the network needs as --need"
        ) from error
    return rates, size


def per_second(work: Callable[[], int], seconds: float) -> float:
    """Images/s of ``work``, which tells how many it dealt with, called for so long, or once."""
    images, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or images == 0:
        images += work()
    return images / elapsed


def random_batch(cfg: DictConfig, size: int, device: torch.device) -> list[Any]:
    """``[indexes, [view_1, ...], targets]`` of the shapes that the configuration's data has."""
    generator = torch.Generator().manual_seed(0)
    views: list[Tensor] = []
    for entry in cfg.augmentations:
        edge = int(entry.crop_size)
        for _ in range(int(entry.num_crops)):
            view = torch.randn(size, 3, edge, edge, generator=generator)
            views.append(view.to(device, memory_format=torch.channels_last))
    targets = torch.arange(size, device=device) % max(1, int(cfg.data.get("num_classes") or 1))
    return [torch.arange(size, device=device), views, targets]


def make_step(cfg: DictConfig, device: torch.device) -> Callable[[Any], None]:
    """One whole training step of a resolved pretraining configuration, as a function of a batch.

    It is without the trainer's loop: forward, backward, optimiser, EMA.
    """
    cfg = cfg.copy()
    cfg.data.num_classes = int(cfg.data.get("num_classes") or 1000)
    cfg.knn_eval.enabled = False  # it would keep the features of every step
    cfg.scheduler.name = "none"  # one would ask the trainer for the number of steps
    try:
        model: Any = get_methods("builtin")[cfg.method](cfg)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    model = model.to(device, memory_format=torch.channels_last).train()
    found = model.configure_optimizers()
    optimizers = found[0] if isinstance(found, (tuple, list)) else [found]
    half = _autocast_type(str(cfg.precision))
    scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)
    counter = iter(range(1 << 62))

    def step(batch: Any) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        context: Any = nullcontext() if half is None else torch.autocast(device.type, half)
        with context:
            loss = model.training_step(batch, next(counter))
        scaler.scale(loss).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        if hasattr(model, "momentum_updater"):
            for pair in model.momentum_pairs:
                model.momentum_updater.update(*pair)

    return step


def _autocast_type(precision: str) -> torch.dtype | None:
    if precision.startswith("bf16"):
        return torch.bfloat16
    return torch.float16 if precision.startswith("16") else None
