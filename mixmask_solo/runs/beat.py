# SPDX-License-Identifier: MIT
"""How far each process of a run is, for the job that it is in."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.config.files import write_json
from mixmask_solo.jobs.variables import BEAT
from mixmask_solo.runs.run import Run

_EVERY = 5.0  # seconds


class Beat(Callback):
    """Writes the file that a job asks for, now and then, from a thread.

    So a process that waits for another one still says where it is, and which of them is behind:
    ``progress`` counts beginnings and ends of batches.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self._file = os.environ.get(BEAT)
        self._told: dict[str, Any] = {}
        self._progress = 0
        self._ended = threading.Event()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begins to write, if there is a job that asks for it."""
        if not self._file:
            return
        self._begun, self._first = time.monotonic(), trainer.global_step
        self._told = {
            "rank": trainer.global_rank,
            "host": socket.gethostname(),
            "directory": str(self.run.directory),
            "epochs": int(self.run.cfg.max_epochs),
            "steps": int(trainer.estimated_stepping_batches),
        }
        threading.Thread(target=self._beat, args=(trainer,), daemon=True).start()

    def on_train_batch_start(self, *_: Any) -> None:
        self._progress += 1

    on_train_batch_end = on_train_batch_start  # type: ignore[assignment]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once more, with the last step."""
        self._ended.set()
        if self._told:
            self._write(trainer)

    def _beat(self, trainer: Trainer) -> None:
        while not self._ended.is_set():
            self._write(trainer)
            self._ended.wait(_EVERY)

    def _write(self, trainer: Trainer) -> None:
        step, steps = trainer.global_step, self._told["steps"]
        done = step - self._first
        left = (time.monotonic() - self._begun) / done * (steps - step) if done else None
        told = {
            **self._told,
            "epoch": trainer.current_epoch,
            "step": step,
            "progress": self._progress,
            "seconds_left": None if left is None else round(left),
            "time": time.time(),
        }
        with suppress(OSError):  # a full disk stops the run by itself, or does not matter
            write_json(Path(str(self._file).replace("{rank}", str(told["rank"]))), told)
