# SPDX-License-Identifier: MIT
"""When a run saves, under which names, and what it keeps."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import __version__
from mixmask_solo.records.checkpoints import LAST, META
from mixmask_solo.records.files import write_json

__all__ = ["Checkpointer"]


class Checkpointer(Callback):
    """Saves ``last.ckpt`` after every epoch and a numbered one every ``frequency`` epochs.

    Args:
        cfg: the resolved configuration; ``args.json`` and every checkpoint hold a copy.
        directory: where the run lives; created by rank zero.
    """

    def __init__(self, cfg: DictConfig, directory: Path) -> None:
        self.directory = directory
        self.frequency = int(cfg.checkpoint.frequency)
        self.keep_prev = bool(cfg.checkpoint.keep_prev)
        self.name = re.sub(r"[^\w.+-]+", "-", str(cfg.name))
        self.config = OmegaConf.to_container(cfg, resolve=True)

    @property
    def last(self) -> Path:
        """The newest checkpoint, if :meth:`save` ran."""
        return self.directory / LAST

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """All ranks must save to rank zero's folder."""
        self.directory = Path(trainer.strategy.broadcast(str(self.directory)))
        if trainer.is_global_zero:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_json(self.directory / "args.json", self.config)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds configuration and version, as plain values."""
        checkpoint[META] = {"config": json.dumps(self.config, default=str), "version": __version__}

    def save(self, trainer: Trainer) -> Path:
        """Writes ``last.ckpt``."""
        trainer.save_checkpoint(self.last, weights_only=False)
        return self.last

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves; the numbered file is a link to the same data where the file system has links."""
        last = self.save(trainer)
        epoch = trainer.current_epoch
        if not trainer.is_global_zero or (epoch + 1) % self.frequency:
            return
        numbered = self.directory / f"{self.name}-ep={epoch}.ckpt"
        numbered.unlink(missing_ok=True)
        try:
            os.link(last, numbered)  # the next `last` is another file: this one stays as it is
        except OSError:
            import shutil

            temporary = numbered.with_name(f".{numbered.name}.tmp")
            shutil.copyfile(last, temporary)
            os.replace(temporary, numbered)
        if not self.keep_prev:
            for old in self.directory.glob(f"{self.name}-ep=*.ckpt"):
                if old != numbered:
                    old.unlink(missing_ok=True)
