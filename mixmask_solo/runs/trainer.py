# SPDX-License-Identifier: MIT
"""A Lightning Trainer from a solo-learn configuration."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.strategies import DDPStrategy
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import AtomicCheckpointIO
from mixmask_solo.runs.metrics_csv import MetricsCSV
from mixmask_solo.runs.reseed import Reseed

__all__ = ["build_loggers", "build_trainer", "trainer_keys"]

log = logging.getLogger(__name__)
_OURS = (
    *("callbacks", "default_root_dir", "enable_checkpointing", "logger", "plugins"),
    "use_distributed_sampler",
    # They cut an epoch short and call it done; schedules and records count whole ones.
    *("barebones", "fast_dev_run", "max_steps", "max_time", "min_epochs", "min_steps"),
)


def trainer_keys() -> list[str]:
    """Top-level configuration keys that go to the Trainer as they are."""
    return [k for k in inspect.signature(Trainer.__init__).parameters if k not in ("self", *_OURS)]


def build_trainer(cfg: DictConfig, callbacks: Sequence[Callback]) -> Trainer:
    """The Trainer of a resolved configuration; hooks run in the order of ``callbacks``.

    It has no loggers, and not Lightning's own handling of signals: that one ends a run on SIGTERM
    before it is saved, and under Slurm saves to, and silently goes on from, files in the current
    folder.

    Raises:
        ConfigError: when the accelerator or devices asked for are not there.
    """
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    kwargs = {k: resolved[k] for k in trainer_keys() if k in resolved}
    if kwargs.get("strategy") in (None, "null"):
        kwargs["strategy"] = "auto"
    elif kwargs["strategy"] == "ddp":
        kwargs["strategy"] = DDPStrategy(find_unused_parameters=False)
    _adapt_to_cpu(cfg, kwargs)
    kwargs.setdefault("enable_model_summary", False)
    kwargs.setdefault("log_every_n_steps", 10)
    kwargs.update(
        enable_progress_bar=False,  # ours is a callback, see progress.py
        enable_checkpointing=False,
        use_distributed_sampler=False,  # the data's own order shards, see data/order
        num_sanity_val_steps=kwargs.get("num_sanity_val_steps", 0),
        plugins=[AtomicCheckpointIO()],
        callbacks=[*callbacks, Reseed(int(cfg.get("seed", 5)))],
        logger=False,
        default_root_dir=os.devnull,  # where it looks for what it saved under Slurm
    )
    try:
        trainer = Trainer(**kwargs)
    except Exception as error:  # Lightning answers a wrong device or precision in many types
        hint = "accelerator=cpu devices=1 precision=32 runs anywhere"
        text = " ".join(str(error).split())
        raise ConfigError(
            f"accelerator={resolved.get('accelerator')}, devices={resolved.get('devices')}, "
            f"precision={resolved.get('precision')} cannot be used here: {text} ({hint})"
        ) from error
    # leaves the signals to InterruptSaver
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _adapt_to_cpu(cfg: DictConfig, kwargs: dict[str, Any]) -> None:
    """Lets a recipe written for GPUs run with ``accelerator=cpu`` alone."""
    accelerator = kwargs.get("accelerator", "auto")
    if accelerator != "cpu" and (accelerator != "auto" or torch.cuda.is_available()):
        return
    devices = kwargs.get("devices")
    if isinstance(devices, list):
        kwargs["devices"] = len(devices)
    if kwargs.get("sync_batchnorm"):
        log.warning("sync_batchnorm needs a GPU; switched off on the CPU")
        cfg.sync_batchnorm = False  # what is recorded
        kwargs["sync_batchnorm"] = False


def build_loggers(cfg: DictConfig, directory: Path, first_step: int = 0) -> list[Logger]:
    """CSV and TensorBoard under ``directory``; Weights & Biases when ``wandb.enabled``.

    What was logged of steps from ``first_step`` on does not count.

    Raises:
        ConfigError: when wandb is asked for and not installed.
    """
    loggers: list[Logger] = [
        MetricsCSV(directory, first_step),
        TensorBoardLogger(directory, name="tensorboard", version="", purge_step=first_step or None),
    ]
    if cfg.wandb.enabled:
        options = {key: cfg.wandb[key] for key in ("project", "entity", "offline")}
        try:
            loggers.append(WandbLogger(name=cfg.name, save_dir=directory, **options))
        except ModuleNotFoundError as error:
            raise ConfigError(
                "wandb.enabled is true, but wandb is not installed: "
                "pip install 'mixmask_solo[wandb]', or set wandb.enabled=false"
            ) from error
    return loggers
