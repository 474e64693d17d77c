# SPDX-License-Identifier: MIT
"""Pretraining runs of seconds on digits, and a stop at one exact batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.records.checkpoints import read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.methods import run_config


def config(folder: Path, method: str = "simclr", **more: Any) -> DictConfig:
    split = {"symmetric": True, "bn_splits": 4} if method == "mocov2" else {}
    mixmask = {"grid_size": 2, "partner": "random", "per_sample": True}
    cfg = run_config(
        method,
        {**split, "mixmask": mixmask},
        augmentations=[
            {
                "crop_size": 16,
                "num_crops": 2,
                "rrc": {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0},
            }
        ],
        optimizer={"batch_size": 16, "weight_decay": 1e-4},
        scheduler={"name": "warmup_cosine", "warmup_epochs": 1},
        checkpoint={"enabled": True, "dir": str(folder)},
        max_epochs=3,
        limit_train_batches=3,
        limit_val_batches=1,
    )
    if method in ("byol", "mocov2plus"):
        cfg.momentum = {"base_tau": 0.9, "final_tau": 1.0}
    return OmegaConf.merge(cfg, OmegaConf.create(more))  # type: ignore[return-value]


def weights(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(path)["state_dict"]
    return state


def interrupt_at(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    """Requests a stop the way a signal does, at one exact batch."""
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            self.requested = True
        original(self, trainer, module, data, batch_idx)

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", hook)


def interrupted(
    monkeypatch: pytest.MonkeyPatch, cfg: DictConfig, epoch: int = 1, batch: int = 1
) -> Path:
    """The checkpoint of a run that is stopped there."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, epoch, batch)
        with pytest.raises(Interrupted) as stop:
            pretrain(cfg)
    assert stop.value.checkpoint is not None
    return Path(stop.value.checkpoint)


def crash_at(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int) -> None:
    """Ends a run with an exception at one exact batch."""

    def crash(self: Any, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            raise RuntimeError("power cut")

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", crash)
