# SPDX-License-Identifier: MIT
"""What pretraining and probes share: where a run lives, how it goes on, how it ends."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from omegaconf import DictConfig

from mixmask_solo.records.result import write_result
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.progress import Throughput
from mixmask_solo.runs.readback import Readback
from mixmask_solo.runs.resume import find_run, resume_point

__all__ = ["fit", "new_directory", "resume_checkpoint"]

log = logging.getLogger(__name__)


def fit(
    trainer: Trainer,
    model: LightningModule,
    data: Any,
    checkpoint: Path | None,
    *,
    cfg: DictConfig,
    directory: Path,
    throughput: Throughput,
    readback: Readback,
    more: Callable[[], dict[str, Any]] = dict,
) -> dict[str, Any]:
    """Trains, and writes ``result.json`` however that ends.

    Args:
        trainer: with all callbacks.
        model: what is trained.
        data: a data module.
        checkpoint: to resume from.
        cfg: the resolved configuration.
        directory: the run's folder.
        throughput: one of the trainer's callbacks.
        readback: another one; holds the last finished epoch's metrics.
        more: asked at the end for further entries of the result.

    Returns:
        The content of ``result.json`` plus ``directory``.
    """
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
                metrics=readback.epoch,
                seconds=time.perf_counter() - start,
                images_per_second=round(throughput.images_per_second, 2),
                epochs=trainer.current_epoch,
                steps=trainer.global_step,
                **more(),
            )
    return {**result, "directory": str(directory)}


def resume_checkpoint(cfg: DictConfig, root: Path) -> Path | None:
    """The checkpoint to go on from: the one named, or what ``auto_resume`` finds under ``root``."""
    if cfg.resume_from_checkpoint:
        return resume_point(cfg, cfg.resume_from_checkpoint)
    if cfg.auto_resume.enabled:
        found = find_run(cfg, root)
        if found:
            log.warning("auto_resume: continuing %s", found)
        return found
    return None


def new_directory(root: Path, name: str) -> Path:
    """A fresh folder's name; where several processes run, all save to rank zero's."""
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    return root / f"{name.replace('/', '-')}-{unique}"
