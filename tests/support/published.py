# SPDX-License-Identifier: MIT
"""How a published recipe is written down, and the sources' schedules by their own formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from mixmask_solo.host.builtin.optimization import schedule_of

__all__ = [
    *("IMAGES", "Run", "Source", "View", "rates_of"),
    *("by_epoch", "constant", "google_rate", "half_cosine", "htdt_rate", "rising", "warm_cosine"),
]

IMAGES = {"cifar": 50_000, "tiny-imagenet": 100_000, "imagenet": 1_281_167, "imagenet-100": 126_689}


@dataclass(frozen=True)
class Run:
    """A moment of training: optimiser step, steps an epoch, epochs."""

    step: int
    per_epoch: int
    epochs: int

    @property
    def epoch(self) -> int:
        return self.step // self.per_epoch

    @property
    def total(self) -> int:
        return self.per_epoch * self.epochs


@dataclass(frozen=True)
class View:
    """Random draws of one view; ``jitter`` is brightness, contrast, saturation, hue at p 0.8."""

    scale: float
    kernel: str
    jitter: tuple[float, ...]
    grey: float
    blur: float
    size: int
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    solarise: float = 0.0
    order: str = "crop_first"


@dataclass(frozen=True)
class Source:
    """A recipe as published; rates are those in use, after any scaling by the batch.

    ``differs`` holds what ours does otherwise: a field of this class, or anything for what no
    field shows, with the words in which the head of the recipe has to say it. ``ours`` holds the
    value that each such field has instead. A source without ``knn`` has none after an epoch.
    """

    tag: str
    optimizer: tuple[str, dict[str, Any]]
    weight_decay: float
    batch: int
    epochs: int
    warmup: int  # optimiser steps
    rate: Callable[[Run], float]
    backbone: tuple[str, str, int, bool]  # name, stem, padding of a 3x3 stem, residuals from zero
    head: str
    views: tuple[View, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    predictor: str = ""
    tau: Callable[[Run], float] | None = None
    knn: tuple[str, str, int, float | None] | None = None  # features, distance, k, temperature
    differs: Mapping[str, str] = field(default_factory=dict)
    ours: Mapping[str, Any] = field(default_factory=dict)


def half_cosine(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def by_epoch(lr: float, first: int = 0) -> Callable[[Run], float]:
    return lambda r: lr * half_cosine((r.epoch + first) / r.epochs)


def warm_cosine(lr: float, warm: int, start: float = 0.0, lag: int = 0) -> Callable[[Run], float]:
    """SL and, with ``lag`` 1, PH, which moves the rate behind each step; ``warm`` in epochs."""

    def rate(r: Run) -> float:
        step, steps = r.step - lag, warm * r.per_epoch
        if step < 0:
            return lr
        if step < steps:
            return start + (lr - start) * step / (steps - 1)
        return lr * half_cosine((step - steps) / (r.total - steps))

    return rate


def htdt_rate(lr: float) -> Callable[[Run], float]:
    def rate(r: Run) -> float:
        if r.step < 500:
            return lr * (r.step + 1) / 500
        return lr * 0.2 ** ((r.epoch >= r.epochs - 50) + (r.epoch >= r.epochs - 25))

    return rate


def google_rate(lr: float, warm: int) -> Callable[[Run], float]:
    def rate(r: Run) -> float:
        steps = warm * r.per_epoch
        if r.step < steps:
            return lr * r.step / steps
        return lr * half_cosine((r.step - steps) / (r.total - steps))

    return rate


def rising(base: float, final: float) -> Callable[[Run], float]:
    return lambda r: final - (final - base) * half_cosine(r.step / r.total)


def constant(tau: float) -> Callable[[Run], float]:
    return lambda r: tau


def rates_of(model: Any, at: Sequence[Run]) -> list[float]:
    """The rates that a method or probe of ours trains with."""
    model._trainer = SimpleNamespace(estimated_stepping_batches=at[0].total)
    schedule, interval = schedule_of(model)
    return [schedule.lr(model.lr, r.step if interval == "step" else r.epoch) for r in at]
