# SPDX-License-Identifier: MIT
"""A pretraining run from configuration to ``result.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, seed_everything
from omegaconf import DictConfig

from mixmask_solo.config import ConfigError, resolve_pretrain
from mixmask_solo.data import build_pretrain
from mixmask_solo.methods import get_method
from mixmask_solo.methods.refused import check_method, check_options
from mixmask_solo.records.damage import damage
from mixmask_solo.runs.checkpointer import Checkpointer
from mixmask_solo.runs.embedding import EmbeddingStd
from mixmask_solo.runs.interrupt import InterruptSaver
from mixmask_solo.runs.lifecycle import fit, new_directory, resume_checkpoint
from mixmask_solo.runs.progress import ProgressReport, Throughput
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.trainer import build_loggers, build_trainer, trainer_keys
from mixmask_solo.strategies import BLOCKS, build_strategies

__all__ = ["pretrain", "resolve"]


def resolve(cfg: DictConfig) -> DictConfig:
    """Checks everything that can be checked without data and fills in defaults.

    Raises:
        ConfigError: naming the key, its value, what is allowed.
    """
    check_method(cfg.get("method"))
    resolved = resolve_pretrain(
        cfg,
        blocks=BLOCKS,
        trainer_keys=trainer_keys(),
        visible=torch.cuda.device_count(),
    )
    check_options(resolved.method, build_strategies(resolved))
    _method(resolved)
    return resolved


def pretrain(cfg: DictConfig) -> dict[str, Any]:
    """Runs ``cfg`` and returns the content of its ``result.json`` plus ``directory``.

    Args:
        cfg: a composed, unresolved configuration (solo-learn's schema and ours).

    Raises:
        ConfigError: for anything wrong with the configuration or the data.
        Interrupted: after Ctrl-C, with the checkpoint saved.
        NonFiniteLoss: naming step, terms and the last good checkpoint.
    """
    cfg = resolve(cfg)
    data = build_pretrain(cfg)
    data.prepare_data()  # downloads only where data.download says so
    cfg.data.num_classes = data.num_classes
    root = Path(cfg.checkpoint.dir) / str(cfg.method)
    checkpoint = resume_checkpoint(cfg, root)
    directory = checkpoint.parent if checkpoint else new_directory(root, str(cfg.name))

    seed_everything(int(cfg.seed), workers=True)
    model = _model(cfg)
    if not cfg.performance.disable_channel_last:
        model = model.to(memory_format=torch.channels_last)

    saver = Checkpointer(cfg, directory) if cfg.checkpoint.enabled else None
    throughput, readback = Throughput(), Readback(saver)
    # Order matters: what is logged, read back and judged comes before what is saved.
    callbacks: list[Callback] = [
        EmbeddingStd(),
        throughput,
        readback,
        ProgressReport(readback, throughput),
        *([saver] if saver else []),
        InterruptSaver(saver),
    ]
    trainer = build_trainer(cfg, callbacks, build_loggers(cfg, directory))
    return fit(
        trainer,
        model,
        data,
        checkpoint,
        cfg=cfg,
        directory=directory,
        throughput=throughput,
        readback=readback,
        more=lambda: damage(data.tolerance, directory),
    )


def _method(cfg: DictConfig) -> type[Any]:
    try:
        return get_method(cfg.method, cfg.host)
    except (ImportError, ValueError) as error:  # hosts know nothing of our errors
        raise ConfigError(str(error)) from error


def _model(cfg: DictConfig) -> LightningModule:
    try:
        model: LightningModule = _method(cfg)(cfg)
    except (ImportError, ValueError) as error:
        raise ConfigError(str(error)) from error
    return model
