# SPDX-License-Identifier: MIT
"""How fast a run is."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Images per second of training, validation and checkpoints left out.

    A checkpoint holds what was counted up to it, for a run that goes on from it elsewhere.
    """

    def __init__(self) -> None:
        self.before: list[dict[str, Any]] = []
        self.images = 0
        self.seconds = 0.0
        self._start = 0.0
        self._at_epoch = (0, 0.0)  # images and seconds when it began
        self._born = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        """Of this process; 0 before its first batch."""
        return self.images / self.seconds if self.seconds else 0.0

    @property
    def of_epoch(self) -> float:
        """Images per second of this epoch so far, or of the part of it that this process did."""
        images, seconds = self._at_epoch
        spent = self.seconds - seconds
        return (self.images - images) / spent if spent else 0.0

    def piece(self) -> dict[str, Any]:
        """What this process has done of the run so far."""
        return {
            "images": self.images,
            "train_seconds": round(self.seconds, 3),
            "wall_seconds": round(time.perf_counter() - self._born, 3),
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock; what lies between epochs is no training, nor is validation."""
        self._start = time.perf_counter()

    on_validation_end = on_train_start

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Not called for an epoch that a run resumes within."""
        self._start = time.perf_counter()
        self._at_epoch = (self.images, self.seconds)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Counts this batch on all ranks; loading time is part of it."""
        now = time.perf_counter()
        self.images += len(batch[0]) * trainer.world_size
        self.seconds += now - self._start
        self._start = now

    def leave_out(self, seconds: float) -> None:
        """Of the time since the last batch."""
        self._start += seconds

    def state_dict(self) -> dict[str, Any]:
        return {"pieces": [*self.before, {"status": "saved", **self.piece()}]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = list(state_dict["pieces"])
