# SPDX-License-Identifier: MIT
"""Checkpoints that are whole or absent, and know the configuration they were made with."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf

from mixmask_solo import __version__
from mixmask_solo.config import ConfigError

__all__ = [
    "LAST",
    "AtomicCheckpointIO",
    "Checkpointer",
    "read_checkpoint",
    "stored_config",
    "write_json",
]

LAST = "last.ckpt"
_KEY = "mixmask_solo"


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` under a temporary name first, so that no reader ever sees half of it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
    os.replace(temporary, path)


def read_checkpoint(path: str | Path, *, plain_weights: bool = False) -> dict[str, Any]:
    """Loads a checkpoint of either host onto the CPU without running any code in it.

    Args:
        path: the file.
        plain_weights: also takes a mere dict of tensors, which comes back as ``state_dict``.

    Raises:
        ConfigError: when there is no such file, or it is no checkpoint of tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"checkpoint '{path}' does not exist: check the path{_nearby(path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn or foreign file fails in many ways, all meaning the same
        raise ConfigError(
            f"checkpoint '{path}' cannot be read ({type(error).__name__}): it is damaged or no "
            "PyTorch checkpoint of plain tensors; use another one"
        ) from error
    if plain_weights and _is_plain_weights(content):
        return {"state_dict": dict(content)}
    if not isinstance(content, dict) or "state_dict" not in content:
        raise ConfigError(
            f"checkpoint '{path}' has no 'state_dict': expected a file written by "
            "mixmask-pretrain, solo-learn or Lightning"
        )
    return content


def _is_plain_weights(content: Any) -> bool:
    named = isinstance(content, dict) and len(content) > 0
    return named and all(isinstance(value, torch.Tensor) for value in content.values())


def _nearby(path: Path) -> str:
    found = sorted(p.name for p in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
    return f"; '{path.parent}' holds {', '.join(found[:4])}" if found else ""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames; reads with ``weights_only=True``."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """See Lightning; ``path`` exists afterwards complete, or as it was before."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See Lightning, whose older releases do not pass ``weights_only``; it is always on."""
        return read_checkpoint(path)


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
        checkpoint[_KEY] = {"config": json.dumps(self.config, default=str), "version": __version__}

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


def stored_config(checkpoint: dict[str, Any], path: str | Path) -> dict[str, Any] | None:
    """The configuration a checkpoint was made with: its own copy, or ``args.json`` beside it."""
    if _KEY in checkpoint:
        config: dict[str, Any] = json.loads(checkpoint[_KEY]["config"])
        return config
    beside = Path(path).parent / "args.json"
    if beside.is_file():
        loaded: dict[str, Any] = json.loads(beside.read_text())
        return loaded
    return None
