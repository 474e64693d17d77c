# SPDX-License-Identifier: MIT
"""What one watches while a run goes: its speed, a collapse, a bar or a line now and then."""

import sys
import time
from datetime import timedelta
from typing import Any

import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress
from torch import Tensor, nn

from mixmask_solo.runs.readback import Readback

_LINE_EVERY = 60.0  # seconds between lines where no terminal shows a bar
_REDRAW_EVERY = 0.25
_EPOCH_LINE_EVERY = 1.0  # seconds; a probe on cached features has many epochs in one


class Throughput(Callback):
    """Images per second of training, validation and checkpoints left out.

    A checkpoint holds what was counted up to it, for a run that goes on from it elsewhere.
    """

    def __init__(self) -> None:
        self.before: list[dict[str, Any]] = []
        self.images = 0
        self.seconds = 0.0
        self._start = 0.0
        self._born = time.perf_counter()

    @property
    def images_per_second(self) -> float:
        """Of this process; 0 before its first batch."""
        return self.images / self.seconds if self.seconds else 0.0

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

    on_train_epoch_start = on_train_start  # not called for an epoch that a run resumes within
    on_validation_end = on_train_start

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Counts this batch on all ranks; loading time is part of it."""
        now = time.perf_counter()
        self.images += len(batch[0]) * trainer.world_size
        self.seconds += now - self._start
        self._start = now

    def state_dict(self) -> dict[str, Any]:
        return {"pieces": [*self.before, {"status": "saved", **self.piece()}]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before = list(state_dict["pieces"])


class EmbeddingStd(Callback):
    """Logs ``train_embedding_std``: std over the batch of unit-length projections, mean over D.

    1/√D for projections spread evenly over the sphere, 0 for collapsed ones (SimSiam, §4.1). It
    listens to the projector, so it needs nothing from the method and works on either host.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._z: Tensor | None = None
        self._handle: Any = None

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Listens to the last layer of ``projector``, every so many batches."""
        projector = getattr(pl_module, "projector", None)
        if isinstance(projector, nn.Sequential):
            projector = projector[-1]  # a head may project all views at once, not when called
        if isinstance(projector, nn.Module) and batch_idx % self.every == 0:
            self._handle = projector.register_forward_hook(self._hear)

    def _hear(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self._z = output.detach()  # the first pass of a step is un-mixed view 1
        self._handle.remove()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if self._z is not None:
            std = F.normalize(self._z.float(), dim=1).std(dim=0).mean()
            pl_module.log("train_embedding_std", std, on_step=True, on_epoch=True)
            self._z = None

    def on_exception(self, *_: Any) -> None:
        """Leaves nothing on the method of a run that failed."""
        if self._handle is not None:
            self._handle.remove()


class ProgressReport(Callback):
    """Epoch, loss terms, λ, embedding std, last k-NN, images/s and time left.

    A live bar in a terminal, a line now and then elsewhere.
    """

    def __init__(self, readback: Readback, throughput: Throughput) -> None:
        self.readback = readback
        self.throughput = throughput
        self.console = Console(file=sys.stderr, soft_wrap=True)
        self._bar: Progress | None = None
        self._begun = self._last = self._last_epoch = 0.0
        self._first_batch = 0

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self._begun = self._last = time.perf_counter()
        self._first_batch = trainer.current_epoch * int(trainer.num_training_batches)
        if trainer.is_global_zero and self.console.is_terminal:
            columns = ("{task.description}", BarColumn(bar_width=24), "{task.fields[text]}")
            self._bar = Progress(*columns, console=self.console, refresh_per_second=4)
            self._bar.start()
            self._bar.add_task("", total=trainer.num_training_batches, text="")

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        interval = _REDRAW_EVERY if self._bar else _LINE_EVERY
        if trainer.is_global_zero and now - self._last >= interval:
            self._last = now
            self._show(trainer, batch_idx + 1)

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        now = time.perf_counter()
        final = trainer.current_epoch + 1 == trainer.max_epochs
        due = self._bar is not None or final or now - self._last_epoch >= _EPOCH_LINE_EVERY
        if trainer.is_global_zero and due:
            self._last = self._last_epoch = now
            self._show(trainer, int(trainer.num_training_batches))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, trainer: Trainer, batches: int) -> None:
        total = int(trainer.num_training_batches)
        head = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        text = self._text(trainer, batches, total)
        if self._bar is not None:
            [task] = self._bar.task_ids
            self._bar.update(task, description=head, completed=batches, text=text)
        else:
            self.console.print(f"{head} {batches}/{total} {text}", highlight=False)

    def _text(self, trainer: Trainer, batches: int, total: int) -> str:
        parts = [f"{_short(k)} {v:.3f}" for k, v in self.readback.latest.items() if _short(k)]
        for name, label in (("val_knn_acc1", "k-NN"), ("val_acc1", "linear")):
            if name in self.readback.epoch:
                parts.append(f"{label} {self.readback.epoch[name]:.1f}%")
        parts.append(f"{self.throughput.images_per_second:,.0f} img/s")
        done = trainer.current_epoch * total + batches
        if done > self._first_batch and trainer.max_epochs:
            rate = (time.perf_counter() - self._begun) / (done - self._first_batch)
            left = rate * (trainer.max_epochs * total - done)
            parts.append(f"ETA {timedelta(seconds=round(left))}")
        return " · ".join(parts)


_NAMES = {"loss": "loss", "train_neg_cos_sim": "cos", "train_embedding_std": "std"}
_NAMES |= {"train_loss": "", "train_mixture_loss": ""}  # totals of other terms


def _short(name: str) -> str:
    """What a metric is called in a line; empty for one that is not shown."""
    if name in _NAMES:
        return _NAMES[name]
    if name.endswith("_lam"):
        return "λ"
    term = name.removeprefix("train_").removesuffix("_loss")
    return term if name.endswith("_loss") else ""
