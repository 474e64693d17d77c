# SPDX-License-Identifier: MIT
"""What the processes of a run agree on, and what they add up."""

from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.methods.own_steps import IGNORED


class Ranks:
    """The processes of a run, on the CPU: none of them waits for its device."""

    def __init__(self) -> None:
        self._group: Any = None

    def gather(self, world_size: int, patience: timedelta | None = None) -> None:
        """Makes them known to each other; all have to call it, and wait so long for each other."""
        if world_size > 1 and self._group is None:
            self._group = dist.new_group(backend="gloo", timeout=patience)

    @property
    def alone(self) -> bool:
        return self._group is None

    @property
    def rank(self) -> int:
        return 0 if self.alone else dist.get_rank()

    def highest(self, *mine: int) -> list[int]:
        """The largest of each number over all processes, which all call this."""
        if self.alone:
            return list(mine)
        numbers = torch.tensor(mine)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=self._group)
        return numbers.tolist()

    def collected(self, mine: Any) -> list[Any]:
        """What each process has, in rank zero, which alone writes; all of them call this."""
        if self.alone:
            return [mine]
        found: list[Any] | None = [None] * dist.get_world_size() if self.rank == 0 else None
        dist.gather_object(mine, found, dst=0, group=self._group)
        return found or []


class EpochMeans(Callback):
    """Leaves a step's metrics to each process and reduces the epoch's means all at once.

    Lightning would reduce each behind a barrier in every step. Values of steps are rank zero's.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            pl_module.log = partial(_log_here, trainer, pl_module.log)  # type: ignore[method-assign]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics: Any = trainer.fit_loop.epoch_loop._results.values()
        means = [m for m in metrics if m.is_tensor and m.meta.on_epoch and m.meta.is_mean_reduction]
        if trainer.world_size == 1 or not means:
            return
        sums = torch.stack([torch.stack([m.value, m.cumulated_batch_size]).double() for m in means])
        dist.all_reduce(sums)
        for metric, (value, count) in zip(means, sums, strict=True):
            metric._computed = (value / count).to(metric.value)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        pl_module.__dict__.pop("log", None)


class LocalBuffers(Callback):
    """Has no buffers sent from rank zero with every step, as DDP does.

    MoCo's queue is the same everywhere, since all put in the keys of all. Running statistics of
    BatchNorm are rank zero's in the end, as they would be: nothing reads them but validation.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.world_size > 1:
            names = [name for name, _ in pl_module.named_buffers()]
            own = getattr(pl_module, IGNORED, [])  # parameters that DDP has nothing to do with
            setattr(pl_module, IGNORED, [*names, *own])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                dist.broadcast(buffer, 0)


def _log_here(trainer: Trainer, log: Any, *args: Any, sync_dist: bool = False, **how: Any) -> None:
    log(*args, sync_dist=sync_dist and not trainer.training, **how)
