# SPDX-License-Identifier: MIT
"""Damaged images in whole runs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from mixmask_solo.data import ImageError
from mixmask_solo.records.damage import LIST
from mixmask_solo.runs.pretrain import pretrain

BROKEN = ("a/1.png", "b/0.png")


@pytest.fixture
def cfg(tmp_path):
    rng = np.random.default_rng(0)
    for split, count in (("train", 9), ("val", 4)):
        for name in "ab":
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    for name in BROKEN:
        (tmp_path / "images" / "train" / name).write_bytes(b"torn")
    for i in range(4):  # of this one whole batch of validation
        (tmp_path / "images" / "val" / "a" / f"{i}.png").write_bytes(b"")

    def make(**data):
        heads = {"proj_hidden_dim": 16, "proj_output_dim": 8, "temperature": 0.2}
        root = str(tmp_path / "images")
        block = {"dataset": "custom", "train_path": root, "val_path": root, "num_workers": 0}
        return OmegaConf.create(
            {
                "name": "damaged",
                "method": "simclr",
                "host": "builtin",
                "backbone": {"name": "resnet10t"},
                "method_kwargs": heads,
                "data": block | data,
                "augmentations": [{"crop_size": 16, "num_crops": 2}],
                "optimizer": {
                    "name": "sgd",
                    "batch_size": 4,
                    "lr": 0.01,
                    "classifier_lr": 0.1,
                    "weight_decay": 0.0,
                },
                "scheduler": {"name": "none"},
                "checkpoint": {"enabled": True, "dir": str(tmp_path / "runs")},
                "max_epochs": 2,
                "accelerator": "cpu",
                "devices": 1,
            }
        )

    return make


@pytest.mark.parametrize("mode", ["skip", "blank"])
def test_a_run_counts_and_names_what_it_could_not_read(cfg, mode, caplog):
    with caplog.at_level(logging.WARNING, logger="mixmask_solo"):
        result = pretrain(cfg(on_error=mode))
    directory = Path(result["directory"])
    saved = json.loads((directory / "result.json").read_text())
    assert saved["status"] == "completed"
    assert saved["data_errors"] == 6
    assert len(saved["damaged_images"]) == 5
    assert "val_acc1" in saved["metrics"]
    lines = (directory / LIST).read_text().splitlines()
    assert len(lines) == 6
    assert all(any(f"/train/{name}: cannot be decoded" in x for x in lines) for name in BROKEN)
    [line] = [r.getMessage() for r in caplog.records if "damaged" in r.getMessage()]
    assert line.startswith("6 damaged images were")
    assert str(directory / LIST) in line


def test_a_clean_run_says_so(cfg, tmp_path):
    for path in (tmp_path / "images").rglob("*.png"):
        Image.new("RGB", (32, 32), "green").save(path)
    result = pretrain(cfg(on_error="skip"))
    assert result["data_errors"] == 0
    assert "damaged_images" not in result
    assert not (Path(result["directory"]) / LIST).exists()


def test_too_many_end_the_run(cfg):
    with pytest.raises(ImageError, match=r"more than 5 images .* the last is .*\.png: cannot"):
        pretrain(cfg(on_error="skip", max_errors=5))
