# SPDX-License-Identifier: MIT
"""What an epoch has measured so far, in a checkpoint that is saved in the middle of it.

The trainer forgets it: the epoch's means of a resumed run would be those of its last part, and its
online k-NN would search in the features of that part alone.
"""

import logging
from typing import Any

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from mixmask_solo.runs.ranks import Ranks

log = logging.getLogger(__name__)
_LIMIT = 1 << 28  # bytes of k-NN features that a checkpoint takes from a process
_KEY = "mixmask_solo_epoch"
_SWITCH = "knn_eval"
# Before Lightning 2.5 an epoch that is resumed at its first batch begins with a validation.
_VALIDATES_FIRST = tuple(map(int, lightning.__version__.split(".")[:2])) < (2, 5)
_BANK = ("train_features", "train_targets")


class PartOfEpoch(Callback):
    """One that gathers something over an epoch, and wants it back where the epoch goes on."""

    def part(self) -> Any:
        """What this process has gathered: tensors on the CPU, numbers, lists."""

    def take(self, part: Any, device: torch.device) -> None:
        """Goes on from it."""


class EpochState(Callback):
    """Saves running means and the k-NN's features, and adds them to those of the resumed epoch.

    So it does with what other callbacks have gathered (:class:`PartOfEpoch`).

    Every rank gets its own back, so that the sums are made in the same order.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._sums: dict[str, dict[str, Any]] = {}
        self._loaded: dict[str, Any] | None = None  # this rank's entry, until the run goes on
        self._incomplete = False
        self._restored = False  # the k-NN's features, of an epoch that goes on

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds one entry a rank, unless the epoch is over."""
        progress: Any = trainer.fit_loop.epoch_progress.current
        if progress.ready == progress.processed:
            return
        mine = {"sums": {**self._sums, **_sums(trainer)}, **_features(pl_module)}
        mine["parts"] = {other.state_key: other.part() for other in _gatherers(trainer)}
        if self._incomplete:
            mine["incomplete"] = True
        checkpoint[_KEY] = self._ranks.collected(mine)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        states = checkpoint.get(_KEY) or []
        self._loaded = states[trainer.global_rank] if trainer.global_rank < len(states) else {}
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]
        if not states and progress["ready"] != progress["processed"]:
            log.warning("the checkpoint does not hold what its epoch has measured so far")
            self._loaded = {"incomplete": True}
        self._sums = dict(self._loaded.get("sums") or {})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gives the k-NN its features back, and other callbacks their part."""
        if self._loaded is None:
            return
        parts = self._loaded.get("parts") or {}
        for gatherer in _gatherers(trainer):
            if gatherer.state_key in parts:
                gatherer.take(parts[gatherer.state_key], pl_module.device)
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        if progress.completed == 0 and _VALIDATES_FIRST:
            trainer.fit_loop.epoch_loop.restarting = False
        knn: Any = getattr(pl_module, "knn", None)
        kind, bank = self._loaded.get("knn"), self._loaded.get("bank")
        searches = bool(getattr(pl_module, _SWITCH, False)) and validates(trainer)
        other = kind is not None and kind != _kind(pl_module)
        self._incomplete = searches and (bool(self._loaded.get("incomplete")) or other)
        if self._incomplete:
            log.warning(
                "the online k-NN of this epoch is left out: its first part saved no features, or "
                "others than are compared now"
            )
            setattr(pl_module, _SWITCH, False)
        elif bank is not None and knn is not None:
            knn.update(**{name: bank[name].to(pl_module.device) for name in _BANK})
            self._restored = True
        self._loaded = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Empties the k-NN of another network's features; it collects what will be validated."""
        knn: Any = getattr(pl_module, "knn", None)
        if knn is None:
            return
        if not self._restored:
            knn.reset()
        setattr(pl_module, _SWITCH, validates(trainer) and not self._incomplete)

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Mends what Lightning does: where a run goes on it counts a step too many, and it logs a
        value again with every step that does not measure it."""
        loop: Any = trainer.fit_loop.epoch_loop
        self._restored = False
        if self._loaded is not None:
            loop._batches_that_stepped = trainer.global_step
            self._loaded = None
        for metric in loop._results.values():
            metric._forward_cache = None

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Adds the sums of every metric that has been logged again."""
        results: Any = trainer.fit_loop.epoch_loop._results
        for key in self._sums.keys() & results.keys():
            metric, saved = results[key], self._sums.pop(key)
            for name, part in (("value", "value"), ("cumulated_batch_size", "count")):
                now = getattr(metric, name)
                setattr(metric, name, now + torch.tensor(saved[part]).to(now))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs what only the first part of the epoch had measured; the k-NN is on again."""
        for saved in self._sums.values():
            if saved["count"]:
                value = torch.tensor(saved["value"], device=pl_module.device)
                mean, count = value / saved["count"], int(saved["count"])
                pl_module.log(saved["name"], mean, batch_size=count, sync_dist=saved["sync"])
        self._sums = {}
        if self._incomplete:
            setattr(pl_module, _SWITCH, True)
            self._incomplete = False


def _gatherers(trainer: Trainer) -> list[PartOfEpoch]:
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    return [other for other in callbacks if isinstance(other, PartOfEpoch)]


def validates(trainer: Trainer) -> bool:
    """Whether the current epoch is validated, at its end or on the way."""
    data: Any = getattr(trainer, "datamodule", None)
    if not trainer.enable_validation or getattr(data, "val_source", True) is None:
        return False
    every = trainer.check_val_every_n_epoch
    return every is None or (trainer.current_epoch + 1) % every == 0


def _sums(trainer: Trainer) -> dict[str, dict[str, Any]]:
    results: Any = trainer.fit_loop.epoch_loop._results
    return {
        key: {
            "name": metric.meta.forked_name(on_step=False),
            "sync": bool(metric.meta.sync.should),
            "value": float(metric.value),
            "count": float(metric.cumulated_batch_size),
        }
        for key, metric in results.items()
        if metric.is_tensor and metric.meta.on_epoch and metric.meta.is_mean_reduction
    }


def _kind(pl_module: LightningModule) -> list[Any]:
    """The keys that decide what a bank holds; empty where none is filled."""
    if not getattr(pl_module, _SWITCH, False) or getattr(pl_module, "knn", None) is None:
        return []
    block = OmegaConf.select(pl_module.cfg, "knn_eval")  # type: ignore[arg-type]
    return [block.get(key) for key in ("features", "distance_func", "bank_dtype")]


def _features(pl_module: LightningModule) -> dict[str, Any]:
    knn: Any = getattr(pl_module, "knn", None)
    found: dict[str, Any] = {"knn": _kind(pl_module)}
    if not found["knn"] or not knn.train_features:
        return found
    if sum(t.numel() * t.element_size() for t in knn.train_features) > _LIMIT:
        return {"incomplete": True}
    return found | {"bank": {name: torch.cat(getattr(knn, name)).cpu() for name in _BANK}}
