# SPDX-License-Identifier: MIT
"""How far each process of a run is, for the job that it is in."""

import os
import socket
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.config.files import write_json
from mixmask_solo.jobs.variables import BEAT
from mixmask_solo.runs.run import Run

_EVERY = 5.0  # seconds


class Beat(Callback):
    """Writes the file that a job asks for, at the first step and then now and then."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._file = os.environ.get(BEAT)
        self._beaten = self._begun = 0.0
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begun, self._first = time.monotonic(), trainer.global_step
        self._write(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if time.monotonic() - self._beaten >= _EVERY:
            self._write(trainer)

    on_validation_batch_end = on_train_batch_end  # type: ignore[assignment]

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        self._beaten = time.monotonic()
        if not self._file:
            return
        step, steps = trainer.global_step, int(trainer.estimated_stepping_batches)
        done = step - self._first
        left = (self._beaten - self._begun) / done * (steps - step) if done else None
        told = {
            "rank": trainer.global_rank,
            "host": socket.gethostname(),
            "directory": str(self.run.directory),
            "epoch": trainer.current_epoch,
            "epochs": int(self.run.cfg.max_epochs),
            "step": step,
            "steps": steps,
            "seconds_left": None if left is None else round(left),
            "time": time.time(),
        }
        write_json(Path(self._file), told)
