# SPDX-License-Identifier: MIT
"""Damaged images in whole runs."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mixmask_solo.config.files import write_json
from mixmask_solo.data import ImageError, Tolerance
from mixmask_solo.data import tolerance as tolerance_module
from mixmask_solo.records.result import LIST
from mixmask_solo.runs.pretrain import pretrain
from support.methods import run_config
from support.tiny import crash_at

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

    def make(resume=None, **data):
        root = str(tmp_path / "images")
        return run_config(
            "simclr",
            data={"dataset": "custom", "train_path": root, "val_path": root} | data,
            augmentations=[{"crop_size": 16, "num_crops": 2}],
            optimizer={"batch_size": 4, "lr": 0.01},
            checkpoint={"enabled": True, "dir": str(tmp_path / "runs")},
            max_epochs=2,
            resume_from_checkpoint=resume,
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


@pytest.mark.parametrize("workers", [0, 1])
def test_what_was_met_lies_in_the_runs_folder_and_counts_when_it_goes_on(
    cfg, workers, monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        crash_at(patch, 1, 1)
        (tmp_path / "cleaned").mkdir()
        elsewhere = partial(tempfile.mkstemp, dir=str(tmp_path / "cleaned"))
        patch.setattr(tempfile, "mkstemp", elsewhere)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(cfg(on_error="skip", num_workers=workers))
    shutil.rmtree(tmp_path / "cleaned")  # as a cluster does with /tmp
    [folder] = (tmp_path / "runs" / "simclr").iterdir()
    met = (folder / ".damaged-0.jsonl").read_text().splitlines()
    assert len(met) == 6
    for name in BROKEN:  # mended meanwhile; the run has still met them
        Image.new("RGB", (32, 32)).save(tmp_path / "images" / "train" / name)
    result = pretrain(cfg(on_error="skip", num_workers=workers, resume=str(folder / "last.ckpt")))
    assert result["status"] == "completed"
    assert result["data_errors"] == 6
    assert Path(result["directory"]) == folder
    assert len((folder / LIST).read_text().splitlines()) == 6
    # killed before it could say that it is completed: the next command says so, and knows of them
    torn = {k: v for k, v in result.items() if k not in ("directory", "data_errors")}
    write_json(folder / "result.json", {**torn, "status": "running"})
    again = pretrain(cfg(on_error="skip", num_workers=workers, resume=str(folder / "last.ckpt")))
    assert (again["status"], again["data_errors"]) == ("completed", 6)


def test_a_vanished_list_loses_no_run(cfg, monkeypatch, tmp_path):
    original = Tolerance.keep_in

    def and_remove(self, log):
        original(self, log)
        monkeypatch.setattr(Tolerance, "keep_in", original)
        self._log = tmp_path / "gone" / "list.jsonl"

    monkeypatch.setattr(Tolerance, "keep_in", and_remove)
    appended = []
    monkeypatch.setattr(tolerance_module, "_append", lambda log, one: appended.append(one))
    result = pretrain(cfg(on_error="skip"))
    assert result["status"] == "completed"
    assert result["data_errors"] == len({one.name for one in appended}) == 6


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
