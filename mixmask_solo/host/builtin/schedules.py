# SPDX-License-Identifier: MIT
"""Learning rates as closed forms of the step, so that a resumed run needs no history of them."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

SCHEDULERS = ("warmup_cosine", "cosine", "cosine_from_one", "step", "warmup_step", "none")


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
    very first step is part of the warm-up.
    """

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, static: tuple[int, ...] = ()
    ) -> None:
        self.schedule, self.static = schedule, static
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        at = self.last_epoch
        return [
            base if i in self.static and at > 0 else self.schedule.lr(base, at)
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
