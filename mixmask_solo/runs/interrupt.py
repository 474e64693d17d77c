# SPDX-License-Identifier: MIT
"""Ctrl-C, SIGTERM, Slurm's SIGUSR1: finish the step, save, say how to resume."""

import signal
import threading
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.jobs.deadline import Deadline
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.run import Run

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(eq=False)
class Interrupted(Exception):
    """The run was stopped by a signal."""

    checkpoint: str | None  # the newest one, where there is one
    signum: int = signal.SIGINT
    saved: bool = True  # now; else the run stopped at once
    saving: bool = True  # the run saves checkpoints at all


class InterruptSaver(Callback):
    """Turns the first signal into a saved checkpoint; a second SIGINT stops at once.

    The end of the job that it is in, where one is told, counts as SIGUSR1.

    The state is saved at the *start* of the next optimiser step: only then have the optimiser, the
    EMA update and the loop's counters of the last one all been carried through. Of several ranks
    one may be told alone (the scheduler signals the first process of a job), or alone have a loss
    that is not finite, so they agree before each step.
    """

    def __init__(self, run: Run, readback: Readback) -> None:
        self.run = run
        self.readback = readback
        self.requested = 0  # the signal's number
        self._deadline = Deadline()
        self._previous: dict[signal.Signals, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._request)

    def release(self) -> None:
        """Gives the signals back. Not a hook: Lightning calls none at the end of a failed fit."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _request(self, number: int, *_: Any) -> None:
        if self.requested and number == signal.SIGINT:
            raise self._interrupted(number, saved=False)
        self.requested = number

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stops between two optimiser steps; gradients in mid-accumulation cannot be saved."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._stop_if_requested(trainer)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._stop_if_requested(trainer)

    def _stop_if_requested(self, trainer: Trainer) -> None:
        if self._deadline.due() and not self.requested:
            self.requested = signal.SIGUSR1
        number, lost = self.readback.ranks.highest(self.requested, self.readback.lost)
        if lost:
            raise self.readback.failure(lost)
        progress: Any = trainer.fit_loop.epoch_progress.current
        if not number or progress.processed >= int(self.run.cfg.max_epochs):  # it has only to end
            return
        if self.run.saves:
            trainer.save_checkpoint(self.run.last, weights_only=False)
        raise self._interrupted(number, saved=True)

    def _interrupted(self, number: int, *, saved: bool) -> Interrupted:
        newest = str(self.run.newest) if self.run.newest else None
        return Interrupted(newest, number, saved, self.run.saves)
