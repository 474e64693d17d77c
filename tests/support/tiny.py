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

HEADS = {
    "simclr": {"proj_hidden_dim": 32, "proj_output_dim": 16, "temperature": 0.2},
    "mocov2": {
        "projector": "linear",
        "proj_output_dim": 16,
        "temperature": 0.1,
        "queue_size": 64,
        "symmetric": True,
        "bn_splits": 4,
    },
    "mocov2plus": {
        "proj_hidden_dim": 32,
        "proj_output_dim": 16,
        "temperature": 0.2,
        "queue_size": 64,
    },
    "byol": {"proj_hidden_dim": 32, "proj_output_dim": 16, "pred_hidden_dim": 32},
    "simsiam": {"proj_hidden_dim": 32, "proj_output_dim": 16, "pred_hidden_dim": 16},
}


def config(folder: Path, method: str = "simclr", **more: Any) -> DictConfig:
    base = {
        "name": "tiny",
        "method": method,
        "host": "builtin",
        "backbone": {"name": "resnet10t"},
        "method_kwargs": {
            **HEADS[method],
            "mixmask": {"grid_size": 2, "partner": "random", "per_sample": True},
        },
        "data": {"dataset": "digits", "num_workers": 0},
        "augmentations": [
            {
                "crop_size": 32,
                "num_crops": 2,
                "rrc": {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0},
            }
        ],
        "optimizer": {
            "name": "sgd",
            "batch_size": 16,
            "lr": 0.1,
            "classifier_lr": 0.1,
            "weight_decay": 1e-4,
        },
        "scheduler": {"name": "warmup_cosine", "warmup_epochs": 1},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 3,
        "accelerator": "cpu",
        "devices": 1,
        "limit_train_batches": 3,
        "limit_val_batches": 1,
    }
    if method in ("byol", "mocov2plus"):
        base["momentum"] = {"base_tau": 0.9, "final_tau": 1.0}
    return OmegaConf.merge(base, OmegaConf.create(more))  # type: ignore[return-value]


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
