# SPDX-License-Identifier: MIT
"""When a run saves, under which names, and what it keeps."""

import json
import os
import shutil
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.config.files import plain_name, replacing
from mixmask_solo.records.checkpoints import FILTERS, META
from mixmask_solo.runs.metrics_csv import MetricsCSV
from mixmask_solo.runs.run import Run
from mixmask_solo.strategies import filtering


class Checkpointer(Callback):
    """Saves ``last.ckpt`` after every epoch and a numbered one every ``frequency`` epochs.

    Of the numbered files, only those that this run wrote are ever deleted.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.written: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return {"written": self.written}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A checkpoint of another folder does not own this folder's files."""
        start = self.run.checkpoint
        own = start is not None and start.resolve().parent == self.run.directory.resolve()
        self.written = list(state_dict.get("written", ())) if own else []

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds what tells the run, in plain values."""
        told, config = self.run.told(), self.run.config
        told[FILTERS] = filtering(config.get("method_kwargs") or {})
        checkpoint[META] = {**told, "config": json.dumps(config, default=str), "sealed": True}

    def on_train_epoch_end(self, trainer: Trainer, *_: Any) -> None:
        """Saves; the numbered file is a link to the same data where the file system has links."""
        _log_epoch(trainer)
        last, epoch, cfg = self.run.last, trainer.current_epoch, self.run.cfg
        numbered = self.run.directory / f"{plain_name(str(cfg.name))}-ep{epoch}.ckpt"
        due = (epoch + 1) % int(cfg.checkpoint.frequency) == 0
        before = self.written
        if due:
            self.written = [*(before if cfg.checkpoint.keep_prev else ()), numbered.name]
        trainer.save_checkpoint(last, weights_only=False)
        if not trainer.is_global_zero or not due:
            return
        with replacing(numbered) as temporary:
            try:
                os.link(last, temporary)  # the next `last` is another file: this one stays
            except OSError:
                shutil.copyfile(last, temporary)
        for name in set(before).difference(self.written):
            (self.run.directory / name).unlink(missing_ok=True)


def _log_epoch(trainer: Trainer) -> None:
    """Writes the epoch's row, which Lightning logs once more after the checkpoint: a run killed in
    between would go on with the next epoch and never have it."""
    row = {k: float(v) for k, v in trainer._logger_connector.metrics["log"].items()}
    for logger in trainer.loggers:
        if isinstance(logger, MetricsCSV) and row:
            logger.log_metrics({**row, "epoch": trainer.current_epoch}, trainer.global_step - 1)
