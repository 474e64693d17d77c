# SPDX-License-Identifier: MIT
"""Ctrl-C, SIGTERM, Slurm's SIGUSR1: finish the step, save, say how to resume."""

import os
import signal
import threading
import time
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.jobs.deadline import Deadline
from mixmask_solo.runs.epoch_state import validates
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.throughput import Throughput

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_STOPPING = ": stops after this step and saves; Ctrl-C once more stops at once\n"
_WORTH_SAVING = 60.0  # seconds of training since the last checkpoint


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

    A validation may take long: after a minute without a checkpoint the state is saved ahead of it.

    The state is saved at the *start* of the next optimiser step: only then have the optimiser, the
    EMA update and the loop's counters of the last one all been carried through. Of several ranks
    one may be told alone (the scheduler signals the first process of a job), or alone have a loss
    that is not finite, so they agree before each step.
    """

    def __init__(self, run: Run, readback: Readback, throughput: Throughput) -> None:
        self.run = run
        self.readback = readback
        self.throughput = throughput
        self.requested = 0  # the signal's number
        self._deadline = Deadline()
        self._saved = 0.0  # when
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

    def asked(self) -> bool:
        """Whether this process is to end soon, by a signal or with its job."""
        return bool(self.requested) or self._deadline.due()

    def _request(self, number: int, *_: Any) -> None:
        if self.requested and number == signal.SIGINT:
            raise self._interrupted(number, saved=False)
        if not self.requested and self.run.writes:  # not print, which may be at work right now
            name = signal.Signals(number).name
            os.write(2, f"\r\x1b[K{name}{_STOPPING}".encode() if os.isatty(2) else b"")
        self.requested = number

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stops between two optimiser steps; gradients in mid-accumulation cannot be saved."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._look(trainer, save=self._worth_saving(trainer, batch_idx))

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        self._look(trainer)

    def on_train_start(self, *_: Any) -> None:
        self._saved = time.perf_counter()

    def on_save_checkpoint(self, *_: Any) -> None:
        """Whoever saves."""
        self._saved = time.perf_counter()

    def _worth_saving(self, trainer: Trainer, batch_idx: int) -> bool:
        """Before the last step of an epoch that is validated: what is killed in its validation
        goes on with that step. Not where that would only repeat seconds."""
        last = (int(trainer.num_training_batches) - 1) // trainer.accumulate_grad_batches
        is_last = batch_idx == last * trainer.accumulate_grad_batches
        late = time.perf_counter() - self._saved > _WORTH_SAVING
        return self.run.saves and is_last and late and validates(trainer)

    def _look(self, trainer: Trainer, *, save: bool = False) -> None:
        if self._deadline.due() and not self.requested:
            self.requested = signal.SIGUSR1
        if save:
            self.readback.settle()  # what is kept is not of a loss that nobody has looked at
        asked = (self.requested, self.readback.lost, int(save))
        number, lost, save_now = self.readback.ranks.highest(*asked)
        if lost:
            raise self.readback.failure(lost)
        if save_now and not number:
            begun = time.perf_counter()
            trainer.save_checkpoint(self.run.last, weights_only=False)
            self.throughput.leave_out(time.perf_counter() - begun)
        progress: Any = trainer.fit_loop.epoch_progress.current
        if not number or progress.processed >= int(self.run.cfg.max_epochs):  # it has only to end
            return
        if self.run.saves:
            trainer.save_checkpoint(self.run.last, weights_only=False)
        raise self._interrupted(number, saved=True)

    def _interrupted(self, number: int, *, saved: bool) -> Interrupted:
        newest = str(self.run.newest) if self.run.newest else None
        return Interrupted(newest, number, saved, self.run.saves)
