# SPDX-License-Identifier: MIT
"""More processes than validation images: the run ends, and its accuracies are of those images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from support.exported import run_file
from support.images import write_parquet
from support.methods import NARROW_WORDS

DIGITS = ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"]


@pytest.mark.slow
def test_one_validation_image_for_two_processes(command: Any, tmp_path: Path) -> None:
    train = write_parquet(tmp_path / "train" / "a.parquet", [0, 1, 2, None] * 8)
    val = write_parquet(tmp_path / "val" / "a.parquet", [1])
    done = command(
        "pretrain",
        *DIGITS,
        *NARROW_WORDS,
        "data.dataset=parquet",
        *(f"data.train_path={train}", f"++data.val_path={val}", "data.num_workers=0"),
        *("max_epochs=2", "scheduler.warmup_epochs=0", "optimizer.batch_size=8"),
        *("accelerator=cpu", "devices=2", "strategy=ddp", f"checkpoint.dir={tmp_path}"),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    [folder] = (tmp_path / "simclr").iterdir()
    metrics = json.loads((folder / "result.json").read_text())["metrics"]
    for name in ("val_acc1", "val_acc5", "val_knn_acc1"):
        assert metrics[name] in (0.0, 100.0), name
    assert 0 < metrics["val_loss"] < 20
    told = "8 of 32 images have no label: left out of every accuracy"
    assert done.stderr.count(told) == 1


@pytest.mark.slow
def test_a_process_whose_validation_images_are_all_damaged(command: Any, tmp_path: Path) -> None:
    """It takes part in the sums of several heads, which the others would wait for."""
    for split, count in (("train", 16), ("val", 2)):
        for i in range(count):
            folder = tmp_path / split / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (15 * i, 50, 90 * (i % 2))).save(folder / f"{i}.png")
    (tmp_path / "val" / "b" / "1.png").write_bytes(b"damaged")
    checkpoint = run_file(tmp_path, "simclr", backbone={"name": "resnet10t"})
    done = command(
        "linear",
        *("--config-path", "scripts/linear/digits", "--config-name", "sgd"),
        *(f"pretrained_feature_extractor={checkpoint}", "data.dataset=custom"),
        *(f"data.train_path={tmp_path / 'train'}", f"++data.val_path={tmp_path / 'val'}"),
        *("data.num_workers=0", "++data.on_error=skip", "++data.max_errors=2"),
        *("optimizer.lr=[0.1,1]", "optimizer.batch_size=4", "max_epochs=1"),
        *("accelerator=cpu", "devices=2", "strategy=ddp", f"checkpoint.dir={tmp_path / 'runs'}"),
    )
    assert done.returncode == 0, done.stderr
    [folder] = (tmp_path / "runs" / "linear").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["metrics"]["val_acc1"] in (0.0, 100.0)  # of one image
    assert result["data_errors"] == 1
