# SPDX-License-Identifier: MIT
"""Ctrl-C: finish the batch, save, say how to resume."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.runs.checkpointer import Checkpointer

__all__ = ["InterruptSaver", "Interrupted"]

_AGREE_EVERY = 20  # optimiser steps
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):
    """The run was stopped by the user after saving ``checkpoint`` (None where saving is off)."""

    def __init__(self, checkpoint: str | None) -> None:
        super().__init__(checkpoint)
        self.checkpoint = checkpoint


class InterruptSaver(Callback):
    """Turns the first SIGINT or SIGTERM into a saved checkpoint; a second SIGINT stops at once.

    The state is saved at the *start* of the next batch: only then have the optimiser, the EMA
    update and the loop's counters of the last one all been carried through.
    """

    def __init__(self, checkpointer: Checkpointer | None) -> None:
        self.checkpointer = checkpointer
        self.requested = False
        self._previous: dict[signal.Signals, Any] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Takes the signals over for the time of the fit."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                self._previous[number] = signal.signal(number, self._request)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Gives the signals back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stops between two optimiser steps; gradients in mid-accumulation cannot be saved.

        Several ranks must agree on the batch, which waits for all of them: now and then will do.
        """
        every = trainer.accumulate_grad_batches * (1 if trainer.world_size == 1 else _AGREE_EVERY)
        if batch_idx % every == 0:
            self._stop_if_requested(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops after the epoch's own checkpoint."""
        self._stop_if_requested(trainer)

    def _stop_if_requested(self, trainer: Trainer) -> None:
        if trainer.strategy.reduce_boolean_decision(self.requested, all=False):
            saved = str(self.checkpointer.save(trainer)) if self.checkpointer else None
            raise Interrupted(saved)
