# SPDX-License-Identifier: MIT
"""What one watches while a run goes: how far it is, and what it measures."""

import time
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo import screen
from mixmask_solo.runs.length import place
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.throughput import Throughput

_REDRAW_EVERY = 0.25  # seconds
_EPOCH_LINE_EVERY = 1.0  # a probe on cached features has many epochs in one


class ProgressReport(Callback):
    """Epoch, batches, time left, and as many :func:`terms` as there is room for; a line for each
    finished epoch. Validation has a bar of its own under it."""

    def __init__(
        self, readback: Readback, throughput: Throughput, highest_rank: int | None = None
    ) -> None:
        self.readback = readback
        self.throughput = throughput
        self.highest_rank = highest_rank
        self._task: Any = None  # the context of what is shown, and what is shown
        self._shown: screen.Task | None = None
        self._inner: Any = None
        self._validating: screen.Task | None = None
        self._begun = self._last = self._epoch_begun = self._last_line = 0.0
        self._first_batch = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """From here on something is shown, if not yet a batch."""
        if trainer.is_global_zero and self._task is None:
            self._task = screen.task("loading the first images")
            self._shown = self._task.__enter__()

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        self._begun = self._epoch_begun = time.perf_counter()
        self._first_batch = trainer.current_epoch * int(trainer.num_training_batches)
        self._show(trainer, 0)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._epoch_begun = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        last = batch_idx + 1 == trainer.num_training_batches
        if now - self._last >= _REDRAW_EVERY or last:
            self._last = now
            self._show(trainer, batch_idx + 1)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        if self._shown is not None and not trainer.sanity_checking:
            total = sum(n for n in trainer.num_val_batches if n != float("inf"))
            self._inner = screen.task("validation", int(total) or None)
            self._validating = self._inner.__enter__()

    def on_validation_batch_end(self, *_: Any) -> None:
        if self._validating is not None:
            self._validating.done += 1

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The method's own hook of that name comes next: it searches for neighbours."""
        if self._validating is not None and getattr(pl_module, "knn_eval", False):
            self._validating.restart("online k-NN: looking for the nearest features")

    def on_validation_end(self, *_: Any) -> None:
        if self._inner is not None:
            self._inner.__exit__(None, None, None)
            self._inner = self._validating = None

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        now = time.perf_counter()
        final = trainer.current_epoch + 1 == trainer.max_epochs
        if self._shown is not None and (final or now - self._last_line >= _EPOCH_LINE_EVERY):
            self._last_line = now
            took = screen.duration(now - self._epoch_begun)
            head = f"{place(self.readback.run.cfg, trainer)} in {took}"
            screen.say([head, *self._terms(self.readback.epoch)])

    def close(self) -> None:
        """Takes the bars away. Not a hook: Lightning calls none at the end of a failed fit."""
        self.on_validation_end()
        if self._task is not None:
            self._task.__exit__(None, None, None)
            self._task = self._shown = None

    def _show(self, trainer: Trainer, batches: int) -> None:
        if self._shown is None:
            return
        total = int(trainer.num_training_batches)
        self._shown.label = place(self.readback.run.cfg, trainer)
        self._shown.total, self._shown.done = total, batches
        epoch = self.readback.epoch
        measured = {k: v for k, v in epoch.items() if k.startswith("val_") or k == _RANK}
        now = {**measured, **self.readback.latest}
        group = trainer.optimizers[0].param_groups[0]
        if group.get("name") != "head_0":  # of a probe with several, each at a rate of its own
            now["train_lr"] = float(group["lr"])
        self._shown.terms = self._terms(now)
        done = trainer.current_epoch * total + batches
        if done > self._first_batch and trainer.max_epochs:
            rate = (time.perf_counter() - self._begun) / (done - self._first_batch)
            self._shown.left = rate * (trainer.max_epochs * total - done)

    def _terms(self, values: Mapping[str, float]) -> list[str]:
        tuned = self.readback.run.cfg.get("finetune")  # no classifier beside it, all of it
        called = "top-1" if tuned else "linear"
        return terms(values, self.throughput.of_epoch, self.highest_rank, called)


_RANK = "train_embedding_rank"
_TOP1 = "val_acc1"
_FIRST = {  # metric: what it is called, and its format
    "val_knn_acc1": ("online k-NN", "{:.1f}%"),
    _TOP1: ("linear", "{:.1f}%"),
    "val_box_ap": ("box AP", "{:.1f}"),
    "val_box_ap50": ("AP50", "{:.1f}"),
    "val_mask_ap": ("mask AP", "{:.1f}"),
    "train_embedding_std": ("std", "{:.3f}"),
    _RANK: ("rank", "{:.0f}"),
}
_LAST = {
    "train_class_loss": ("classifier", "{:.3f}"),
    "train_lr": ("lr", "{:.3g}"),
    "train_grad_norm": ("gradient", "{:.3g}"),
}
_LAM = "_lam"
_HIDDEN = ("loss", "train_loss", "train_mixture_loss", *_LAST)  # totals, and what stands elsewhere


def terms(
    values: Mapping[str, float],
    images_per_second: float,
    highest_rank: int | None = None,
    classifier: str = "linear",
) -> list[str]:
    """Metrics in words, in the order in which they have a right to be shown: loss, online k-NN,
    ``classifier``'s top-1, embedding's std and rank (of the highest one), λ, images/s, the loss's
    terms, learning rate, norm of the gradient."""
    total = values.get("loss", values.get("train_loss"))
    told = [] if total is None else [f"loss {total:.3f}"]
    ends = {_RANK: f"/{highest_rank}"} if highest_rank else {}
    told += [
        f"{classifier if key == _TOP1 else name} {form.format(values[key])}{ends.get(key, '')}"
        for key, (name, form) in _FIRST.items()
        if key in values
    ]
    shares = {k: v for k, v in values.items() if k.endswith(_LAM)}
    for key, value in shares.items():
        name = f" {key[len('train_') : -len(_LAM)]}" if len(shares) > 1 else ""
        told.append(f"λ{name} {value:.3f}")
    if images_per_second:
        told.append(f"{images_per_second:,.0f} img/s")
    told += [
        f"{_short(k)} {v:.3f}"
        for k, v in values.items()
        if k.startswith("train_") and k.endswith(("_loss", "neg_cos_sim")) and k not in _HIDDEN
    ]
    told += [f"{n} {form.format(values[k])}" for k, (n, form) in _LAST.items() if k in values]
    return told


def _short(name: str) -> str:
    return "cos" if name == "train_neg_cos_sim" else name[len("train_") : -len("_loss")]
