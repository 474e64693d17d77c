# SPDX-License-Identifier: MIT
"""How many images a second the training step of a configuration takes in."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import torch
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.methods import get_methods
from mixmask_solo.runs.performance import apply_performance

_CPU_BATCH = 32  # a ResNet-50 step of 256 takes minutes there; images/s hardly depend on it
_HALVES = {"16": torch.float16, "bf16": torch.bfloat16}
_WARMUP = 3  # on a GPU, which chooses its kernels then


def step_rates(
    cfg: DictConfig, device: torch.device, *, seconds: float, repeats: int
) -> tuple[list[float], int]:
    """Images/s of whole training steps on random images that are on the device already.

    ``repeats`` measurements of a resolved pretraining configuration, of at least ``seconds`` each,
    and the batch size they were made with.

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
    edges = [int(entry.crop_size) for entry in cfg.augmentations for _ in range(entry.num_crops)]
    edges += edges[:1] * int(cfg.data.get("num_extra_crops") or 0)
    drawn = (torch.randn(size, 3, edge, edge, generator=generator) for edge in edges)
    views = [view.to(device, memory_format=torch.channels_last) for view in drawn]
    targets = torch.arange(size, device=device) % max(1, int(cfg.data.get("num_classes") or 1))
    return [torch.arange(size, device=device), views, targets]


def make_step(cfg: DictConfig, device: torch.device) -> Callable[[Any], None]:
    """A whole training step, forward, backward, optimiser and EMA, as a function of a batch.

    ``cfg`` is a resolved pretraining configuration.
    """
    cfg = cfg.copy()
    cfg.data.num_classes = int(cfg.data.get("num_classes") or 1000)
    cfg.knn_eval.enabled = False  # it would keep the features of every step
    cfg.scheduler.name = "none"  # one would ask the trainer for the number of steps
    methods = get_methods("builtin")
    if cfg.method not in methods:
        raise ConfigError(
            f"method is {cfg.method}: steps of {listing(methods, 'and')} can be timed; give the "
            "images/s that the network needs as --need"
        )
    model: Any = methods[cfg.method](cfg)
    model.to(device).train()
    apply_performance(model, cfg.performance, device)
    optimizer = model.configure_optimizers()
    half = _HALVES.get(str(cfg.precision).split("-")[0])
    scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)
    numbers = count()

    def step(batch: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, half, enabled=half is not None):
            loss = model.training_step(batch, next(numbers))
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        for pair in getattr(model, "momentum_pairs", ()):
            model.momentum_updater.update(*pair)

    return step
