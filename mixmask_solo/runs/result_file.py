# SPDX-License-Identifier: MIT
"""Keeps ``result.json`` true from a run's first step to its end."""

import logging
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from mixmask_solo.config.files import read_json, write_json
from mixmask_solo.data import Tolerance
from mixmask_solo.records.provenance import PROVENANCE, provenance
from mixmask_solo.records.registry.record import RESULT, SCHEMA
from mixmask_solo.records.result import damage, now, this_process, versions
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.throughput import Throughput

log = logging.getLogger(__name__)
_HEARTBEAT = 10.0  # seconds


@dataclass(eq=False)
class ResultFile(Callback):
    """Writes ``args.json`` and ``result.json``; stands before all callbacks that write.

    Until training really begins, with the checkpoint loaded, no earlier record changes. A run that
    was resumed consists of pieces, each with its process, steps and time; its totals are theirs. A
    piece that was killed counts up to its last heartbeat.
    """

    run: Run
    throughput: Throughput
    readback: Readback
    tolerance: Tolerance  # its list of damaged images lies in the run's folder, too
    more: Callable[[], dict[str, Any]]  # asked for further entries of the result
    loggers: list[Logger] = field(default_factory=list)  # make files, so they wait for the run
    _before: list[dict[str, Any]] = field(default_factory=list)
    _piece: dict[str, Any] = field(default_factory=dict)
    _rates: dict[str, float] = field(default_factory=dict)
    _origin: dict[str, Any] = field(default_factory=dict)
    _beaten: float = 0.0

    @property
    def began(self) -> bool:
        """Whether this process trains, and writes the record of it."""
        return bool(self._piece)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """All ranks write to rank zero's folder."""
        mine = (self.run.directory, self.run.id, self.run.checkpoint)
        self.run.directory, self.run.id, checkpoint = trainer.strategy.broadcast(mine)
        if checkpoint != self.run.checkpoint:
            raise RuntimeError(
                f"rank {trainer.global_rank} would go on from {self.run.checkpoint}, rank 0 from "
                f"{checkpoint}: give resume_from_checkpoint instead of auto_resume"
            )
        self.tolerance.keep_in(self._damaged(trainer.global_rank))

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        trainer.loggers = self.loggers
        if not trainer.is_global_zero:
            return
        folder, run = self.run.directory, self.run
        folder.mkdir(parents=True, exist_ok=True)
        run.lock(folder)
        for left in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        before = read_json(folder / RESULT).get("pieces") or self.throughput.before
        self._before = _as_killed(before)
        self._origin = provenance()
        code = {key: self._origin[key] for key in ("command", "commit", "dirty")}
        self._piece = {
            "started": now(),
            **code,
            **this_process(),
            "first_step": trainer.global_step,
        }
        self._rates = {
            group.get("name", str(i)): float(group.get("initial_lr", group["lr"]))
            for i, group in enumerate(trainer.optimizers[0].param_groups)
        }
        write_json(folder / "args.json", {**run.config, PROVENANCE: self._origin})
        self._write(trainer, "running", {})
        for logger in trainer.loggers:
            if not isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(run.config)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Now and then says that the run is alive."""
        if self._piece and time.perf_counter() - self._beaten >= _HEARTBEAT:
            self._write(trainer, "running", {})

    on_validation_batch_end = on_train_batch_end  # type: ignore[assignment]

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        """TensorBoard's table of hyper-parameters has a row once there is what it compares."""
        measured = {k: v for k, v in self.readback.epoch.items() if k in self.readback.best}
        for logger in trainer.loggers if self._piece else ():
            if isinstance(logger, TensorBoardLogger) and measured:
                logger.log_hyperparams(self.run.config, {f"hp/{k}": v for k, v in measured.items()})

    def finish(self, trainer: Trainer, status: str, error: str = "") -> dict[str, Any]:
        """Writes how the run ended: ``completed``, ``interrupted``, or ``failed`` with an error.

        Returns what is in ``result.json``; nothing where this process did not write it.
        """
        if not self._piece:
            self._leave_nothing(trainer)
        if not self._piece or not self.run.directory.is_dir():
            return {}
        told = {"error": error} if error else {}
        try:
            return self._write(trainer, status, {**told, **self._more()})
        except OSError as failure:  # what ended the run, a full disk for one, is told instead
            log.error("%s cannot be written: %s", self.run.directory / RESULT, failure)
            return {}

    def complete(self, found: dict[str, Any]) -> dict[str, Any]:
        """Says that a run is completed that was killed after its last checkpoint."""
        self.tolerance.keep_in(self._damaged(0))
        content = {"schema": SCHEMA, **found, **self.readback.told(), **self._more()}
        content |= {"status": "completed", "heartbeat": now(), "steps": self.run.steps}
        content |= {"epochs": int(self.run.cfg.max_epochs), "pieces": _as_killed(found["pieces"])}
        write_json(self.run.directory / RESULT, content)
        return content

    def _more(self) -> dict[str, Any]:
        return {**self.more(), **damage(self.tolerance, self.run.directory)}

    def _leave_nothing(self, trainer: Trainer) -> None:
        """A new run that failed before its first step has no folder."""
        if not (self.run.directory / RESULT).exists():
            with suppress(OSError):  # there is none, or something of another rank in it
                self._damaged(trainer.global_rank).unlink(missing_ok=True)
                self.run.directory.rmdir()

    def _damaged(self, rank: int) -> Path:
        return self.run.directory / f".damaged-{rank}.jsonl"

    def _write(self, trainer: Trainer, status: str, more: dict[str, Any]) -> dict[str, Any]:
        self._beaten = time.perf_counter()
        piece = self._piece | {
            "ended": now(),
            "status": status,
            "steps": trainer.global_step - self._piece["first_step"],
            **self.throughput.piece(),
        }
        pieces = [*self._before, piece]
        images, seconds, wall = (
            sum(p[key] for p in pieces) for key in ("images", "train_seconds", "wall_seconds")
        )
        told = self.run.told()
        content = {
            "schema": SCHEMA,
            "id": told.pop("id"),
            "status": status,
            "process": this_process(),
            "heartbeat": now(),
            **self.readback.told(),
            "wall_seconds": round(wall, 3),
            "images_per_second": round(images / seconds, 2) if seconds else 0.0,
            # at an epoch's very end the trainer's own count is one behind
            "epochs": max(trainer.current_epoch, _processed(trainer)),
            "steps": trainer.global_step,
            "learning_rates": self._rates,
            **more,
            "pieces": pieces,
            "seed": self.run.cfg.get("seed"),
            PROVENANCE: self._origin,
            "versions": versions(trainer.strategy.root_device),
            **{key: told[key] for key in ("processes", "host", "data", "config")},
        }
        write_json(self.run.directory / RESULT, content)
        return content


def _processed(trainer: Trainer) -> int:
    progress: Any = trainer.fit_loop.epoch_progress.current
    return int(progress.processed)


def _as_killed(pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pieces of processes that are gone: one that could not say how it ended was killed."""
    return [{**p, "status": "killed"} if p["status"] == "running" else p for p in pieces]
