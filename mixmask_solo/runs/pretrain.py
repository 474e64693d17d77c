# SPDX-License-Identifier: MIT
"""A pretraining run from configuration to ``result.json``."""

from __future__ import annotations

import logging
import time
import uuid
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig

from mixmask_solo.config import resolve_pretrain
from mixmask_solo.data import build_pretrain
from mixmask_solo.methods import get_methods
from mixmask_solo.runs.checkpoints import Checkpointer
from mixmask_solo.runs.embedding import EmbeddingStd
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.progress import ProgressReport, Throughput
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.result import plain_metrics, write_result
from mixmask_solo.runs.resume import find_run, resume_point
from mixmask_solo.runs.trainer import build_loggers, build_trainer, trainer_keys
from mixmask_solo.strategies import STRATEGIES, build_strategies

__all__ = ["pretrain", "resolve"]

log = logging.getLogger(__name__)


def resolve(cfg: DictConfig) -> DictConfig:
    """Checks everything that can be checked without data and fills in defaults.

    Raises:
        ConfigError: naming the key, its value, what is allowed.
    """
    resolved = resolve_pretrain(
        cfg,
        blocks=STRATEGIES,
        trainer_keys=trainer_keys(),
        visible=torch.cuda.device_count(),
    )
    build_strategies(resolved)
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
    checkpoint = _resume_checkpoint(cfg)
    directory = checkpoint.parent if checkpoint else _new_directory(cfg)

    seed_everything(int(cfg.seed), workers=True, verbose=False)
    model = get_methods(cfg.host)[cfg.method](cfg)
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
    return _fit(trainer, model, data, checkpoint, cfg, directory, throughput)


def _fit(
    trainer: Trainer,
    model: LightningModule,
    data: Any,
    checkpoint: Path | None,
    cfg: DictConfig,
    directory: Path,
    throughput: Throughput,
) -> dict[str, Any]:
    start, status = time.perf_counter(), "failed"
    result: dict[str, Any] = {}
    try:
        trainer.fit(model, datamodule=data, ckpt_path=checkpoint)
        status = "completed"
    except Interrupted:
        status = "interrupted"
        raise
    finally:
        if trainer.is_global_zero and directory.is_dir():
            result = write_result(
                directory,
                status=status,
                config=cfg,
                metrics=plain_metrics(trainer.callback_metrics),
                seconds=time.perf_counter() - start,
                images_per_second=round(throughput.images_per_second, 2),
                epochs=trainer.current_epoch,
                steps=trainer.global_step,
            )
    return {**result, "directory": str(directory)}


def _resume_checkpoint(cfg: DictConfig) -> Path | None:
    if cfg.resume_from_checkpoint:
        return resume_point(cfg, cfg.resume_from_checkpoint)
    if cfg.auto_resume.enabled:
        found = find_run(cfg, _root(cfg))
        if found:
            log.warning("auto_resume: continuing %s", found)
        return found
    return None


def _root(cfg: DictConfig) -> Path:
    return Path(cfg.checkpoint.dir) / str(cfg.method)


def _new_directory(cfg: DictConfig) -> Path:
    """A fresh folder's name; where several processes run, all save to rank zero's."""
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    return _root(cfg) / f"{str(cfg.name).replace('/', '-')}-{unique}"
