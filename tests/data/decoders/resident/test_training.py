# SPDX-License-Identifier: MIT
"""Training runs on images in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from mixmask_solo.data import build_pretrain
from mixmask_solo.runs.pretrain import pretrain
from support.methods import run_config


@pytest.mark.parametrize("stop", [(0, 1), (1, 0), (1, 4)])
def test_a_resumed_run_sees_the_very_batches_of_a_whole_one(stop, views_cfg, batches_seen) -> None:
    block = {"dataset": "digits", "format": "resident", "fraction": 0.05}

    def build() -> Any:
        return build_pretrain(views_cfg(block, 12))

    whole = batches_seen(build)
    assert [(e, b) for e, b, *_ in whole] == [(e, b) for e in range(3) for b in range(6)]
    assert batches_seen(build, stop) == whole


def config(folder: Path, data: dict[str, Any], **view: Any) -> DictConfig:
    crop = {"rrc": {"enabled": True, "crop_min_scale": 0.5, "crop_max_scale": 1.0}}
    return run_config(
        "simclr",
        {"mixmask": {"grid_size": 2}},
        data={"format": "resident"} | data,
        augmentations=[{"crop_size": 32, "num_crops": 2} | crop | view],
        optimizer={"batch_size": 16},
        scheduler={"name": "warmup_cosine", "warmup_epochs": 1},
        checkpoint={"enabled": False, "dir": str(folder)},
        knn_eval={"enabled": True, "k": 5},
        max_epochs=2,
        limit_train_batches=3,
        limit_val_batches=2,
    )


def test_a_run_on_digits(tmp_path) -> None:
    view = {"pipeline": "glyphs", "rotation": {"degrees": 10}}
    result = pretrain(config(tmp_path, {"dataset": "digits"}, **view))
    assert result["status"] == "completed"
    assert result["steps"] == 6
    assert {"train_mixmask_loss", "val_knn_acc1"} <= result["metrics"].keys()
    assert result["config"]["data"]["format"] == "resident"
    assert result["config"]["data"]["resident_on"] == "auto"


def test_a_run_on_cifar_in_parquet(tmp_path, real_data) -> None:
    folder = str(real_data / "cifar10")
    block = {"dataset": "cifar10", "train_path": folder, "val_path": folder, "fraction": 0.02}
    view = {"gaussian_blur": {"prob": 0.5}, "color_jitter": {"prob": 0.8, "hue": 0.1}}
    result = pretrain(config(tmp_path, block, **view))
    assert result["status"] == "completed"
    assert result["steps"] == 6
