# SPDX-License-Identifier: MIT
"""A Lightning Trainer from a solo-learn configuration, and how its steps draw."""

import inspect
import logging
import os
import random
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.records.checkpoints import AtomicCheckpointIO
from mixmask_solo.runs.metrics_csv import MetricsCSV

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

    Without loggers, and without Lightning's own handling of signals: that one ends a run on SIGTERM
    before it is saved, and under Slurm goes on from files in the current folder without a word.

    Raises ConfigError when the accelerator or devices asked for are not there.
    """
    resolved: Any = OmegaConf.to_container(cfg, resolve=True)
    kwargs: dict[str, Any] = {"enable_model_summary": False, "num_sanity_val_steps": 0}
    kwargs |= {"log_every_n_steps": 10, "accelerator": "auto"}
    kwargs |= {k: resolved[k] for k in trainer_keys() if k in resolved}
    accelerator = kwargs["accelerator"]
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    if on_cpu:
        kwargs["accelerator"] = "cpu"  # Lightning's auto may be mps, which has no float64
    if kwargs.get("sync_batchnorm") and on_cpu:
        log.warning("sync_batchnorm needs a GPU; switched off on the CPU")
        cfg.sync_batchnorm = kwargs["sync_batchnorm"] = False  # in what is recorded, too
    kwargs.update(
        enable_progress_bar=False,  # ours is a callback, see progress.py
        enable_checkpointing=False,
        use_distributed_sampler=False,  # the data's own order shards, see data/order
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
    cores = joblib.cpu_count()  # knows affinity and a container's quota
    if on_cpu and trainer.num_devices > cores:
        log.warning(
            "devices is %s: %d processes will share %d cores and the memory, which is slower than "
            "fewer; Ctrl-C and devices=1 if that is not meant",
            *(resolved.get("devices"), trainer.num_devices, cores),
        )
    # Lightning has no argument for it beside the strategy's name.
    strategy: Any = trainer.strategy
    strategy._timeout = patience(cfg, on_cpu=on_cpu)
    # Leaves the signals to InterruptSaver, and does not wait for the GPU in every step of several
    # processes to ask whether one of them got one.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    loop: Any = trainer.fit_loop.epoch_loop
    loop._broadcast_sigterm_tensor = lambda: None
    return trainer


def patience(cfg: DictConfig, *, on_cpu: bool) -> timedelta:
    """How long processes that train together wait for one of them, in a collective."""
    minutes = cfg.get("timeout") or (5.0 if on_cpu else 30.0)
    return timedelta(minutes=float(minutes))


def build_loggers(cfg: DictConfig, directory: Path, first_step: int = 0) -> list[Logger]:
    """CSV, TensorBoard and, when ``wandb.enabled``, Weights & Biases under ``directory``, where
    what was logged of steps from ``first_step`` on does not count."""
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
                "pip install '.[wandb]' in the checkout, or set wandb.enabled=false"
            ) from error
    return loggers


class Reseed(Callback):
    """Starts all global generators anew for each batch, from (seed, epoch, batch, rank).

    What this package draws comes from generators of its own. Dropout and stochastic depth of a
    backbone and some of solo-learn's losses draw from the global ones, whose states no checkpoint
    holds: started like this, an interrupted run goes on with the numbers of one that never was.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        key = mix(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        random.seed(key)
        np.random.seed(key & 0xFFFFFFFF)  # noqa: NPY002  (others draw from it)
        torch.default_generator.manual_seed(key)
        if pl_module.device.type == "cuda":  # not torch.manual_seed: it asks every kind there is
            torch.cuda.manual_seed(key)
