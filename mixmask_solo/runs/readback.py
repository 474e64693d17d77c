# SPDX-License-Identifier: MIT
"""Brings a step's metrics to the host without waiting for the device, and guards the loss."""

import math
import re
from collections import deque
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from mixmask_solo.runs import length
from mixmask_solo.runs.ranks import Ranks
from mixmask_solo.runs.run import Run

_HIGHER = re.compile(r"val_(\w+_)?acc\d|val_(box|mask|voc)_ap(50|75)?")  # is better


class NonFiniteLoss(Exception):
    """Names step, terms and last good checkpoint."""


class _Pending(NamedTuple):
    epoch: int
    batch: int
    names: list[str]
    values: Tensor
    event: Any


class Readback(Callback):
    """Keeps ``latest``, the newest step metrics that have arrived, and ``epoch``, what the last
    finished epoch measured; what it did not (validation may be rarer) is in ``earlier``, each with
    the number of its epoch, from 0.

    On CUDA each step's metrics are copied to pinned memory behind the step's own work and looked
    at once the copy is through, a step or two later. A loss that is not finite ends the run, the
    step's or one that a strategy minimises by itself (the method's ``judged``). Of
    several processes one may be the first to see it, and the others would wait for it for ever: so
    it is ``lost``, its rank plus 1, until all have agreed (before the next step, see interrupt.py,
    and at the end of an epoch).
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.ranks = Ranks()
        self.lost = 0
        self.latest: dict[str, float] = {}
        self.epoch: dict[str, float] = {}
        self.epoch_number: int | None = None
        self.earlier: dict[str, dict[str, Any]] = {}
        self.best: dict[str, dict[str, Any]] = {}  # accuracies and precisions on validation images
        self.notes: dict[str, Any] = {}  # what others have found in them, for ``result.json``
        self._seen: dict[str, Any] = {}
        self._pending: deque[_Pending] = deque()
        self._judged = ["loss"]
        self._where = ""  # the loss of this process stopped being finite

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.ranks.gather(trainer.world_size, getattr(trainer.strategy, "_timeout", None))

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        loss = loss * trainer.accumulate_grad_batches  # by which Lightning has divided it
        terms = {
            k.removesuffix("_step"): v
            for k, v in trainer.callback_metrics.items()
            if k.startswith("train_") and k.endswith("_step") and isinstance(v, Tensor)
        }
        stacked = torch.stack([v.detach().float().flatten()[0] for v in (loss, *terms.values())])
        event = None
        if stacked.is_cuda:
            host = torch.empty(stacked.shape, pin_memory=True)
            stacked = host.copy_(stacked, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        names = ["loss", *terms]
        self._judged = ["loss", *getattr(module, "judged", ())]
        self._pending.append(_Pending(trainer.current_epoch, batch_idx, names, stacked, event))
        self._drain(wait=False)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Looks at all of the epoch before a checkpoint of it is written.

        Its metrics are reduced over the ranks when they are first read, so all ranks read them.
        """
        self._drain(wait=True)
        [lost] = self.ranks.highest(self.lost)
        if lost:
            raise self.failure(lost)
        logged = dict(trainer.callback_metrics)
        # The trainer never forgets a metric; one that was logged again is another object.
        fresh = {k: v for k, v in logged.items() if v is not self._seen.get(k)}
        before = {k: {"value": v, "epoch": self.epoch_number} for k, v in self.epoch.items()}
        self._seen = logged
        self.epoch, self.epoch_number = _epoch_metrics(fresh), trainer.current_epoch
        earlier = {**self.earlier, **before}
        self.earlier = {name: told for name, told in earlier.items() if name not in self.epoch}
        for name, value in self.epoch.items():
            best = self.best.get(name, {}).get("value", -1.0)
            if _HIGHER.fullmatch(name) and not value <= best:
                self.best[name] = {"value": value, "epoch": self.epoch_number}

    def told(self) -> dict[str, Any]:
        """Entries of ``result.json``."""
        earlier = {"earlier_metrics": self.earlier} if self.earlier else {}
        best = {"best_metrics": self.best} if self.best else {}
        found = {**earlier, **best, **self.notes}
        return {"metrics": self.epoch, "metrics_epoch": self.epoch_number, **found}

    def state_dict(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "number": self.epoch_number,
            "earlier": self.earlier,
            "best": self.best,
            "notes": self.notes,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.epoch = dict(state_dict["epoch"])
        self.epoch_number = state_dict["number"]
        self.earlier = dict(state_dict["earlier"])
        self.best = dict(state_dict.get("best", {}))
        self.notes = dict(state_dict.get("notes", {}))

    def settle(self) -> None:
        """Looks at every step so far, for which it waits."""
        self._drain(wait=True)

    def _drain(self, *, wait: bool) -> None:
        while self._pending:
            event = self._pending[0].event
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            step = self._pending.popleft()
            self.latest = dict(zip(step.names, step.values.tolist(), strict=True))
            losses = [self.latest[name] for name in self._judged if name in self.latest]
            if not all(map(math.isfinite, losses)) and not self.lost:
                self._where = self._place(step)
                self.lost = 1 + self.ranks.rank
                if self.ranks.alone:
                    raise self.failure(self.lost)

    def failure(self, lost: int) -> NonFiniteLoss:
        """What every process raises once one has a loss that is not finite."""
        where = self._where or f"in rank {lost - 1}, which says where"
        last = self.run.newest
        good = f"last good checkpoint: {last}" if last else "no checkpoint was written yet"
        return NonFiniteLoss(
            f"the loss is not finite {where}; {good}. "
            f"Lower optimizer.lr, lengthen {length.warmup(self.run.cfg)} or use precision=32"
        )

    def _place(self, step: _Pending) -> str:
        terms = ", ".join(f"{k}={v:.4g}" for k, v in self.latest.items() if k.endswith("loss"))
        return f"in {length.batch(self.run.cfg, step.epoch, step.batch)} ({terms})"


def _epoch_metrics(logged: dict[str, Any]) -> dict[str, float]:
    """Logged metrics as floats; where both are there, an epoch's mean stands for its last step."""
    ends = ("_step", "_epoch")
    found = {name: value for name, value in logged.items() if not name.endswith(ends)}
    found |= {n.removesuffix("_epoch"): v for n, v in logged.items() if n.endswith("_epoch")}
    return {name: float(found[name]) for name in sorted(found)}
