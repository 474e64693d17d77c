# SPDX-License-Identifier: MIT
"""What a resumed run records is what it does: the rest is refused, with key and both values."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config, interrupted, weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the middle of the second epoch of three."""
    with pytest.MonkeyPatch.context() as patch:
        return interrupted(patch, config(tmp_path_factory.mktemp("saved")))


def copied(saved: Path, to: Path) -> Path:
    """The checkpoint in a copy of its run's folder, to go on from."""
    return Path(shutil.copytree(saved.parent, to / saved.parent.name)) / saved.name


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("change", "key", "new", "old"),
    [
        ({"optimizer": {"lr": 0.5}}, "optimizer.lr", "0.5", "0.1"),
        ({"optimizer": {"classifier_lr": 0.2}}, "optimizer.classifier_lr", "0.2", "0.1"),
        ({"optimizer": {"weight_decay": 0.0}}, "optimizer.weight_decay", "0.0", "0.0001"),
        ({"optimizer": {"kwargs": {"momentum": 0.5}}}, "optimizer.kwargs.momentum", "0.5", "0.9"),
        ({"optimizer": {"batch_size": 32}}, "optimizer.batch_size", "32", "16"),
        ({"optimizer": {"name": "adamw"}}, "optimizer.name", "adamw", "sgd"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches", "2", "1"),
        ({"scheduler": {"warmup_epochs": 0}}, "scheduler.warmup_epochs", "0.0", "1.0"),
        ({"scheduler": {"min_lr": 0.01}}, "scheduler.min_lr", "0.01", "0.0"),
        ({"seed": 6}, "seed", "6", "5"),
        ({"limit_train_batches": 2}, "limit_train_batches", "2", "3"),
        ({"data": {"fraction": 0.5}}, "data.fraction", "0.5", "-1.0"),
        ({"data": {"last_batch": "pad"}}, "data.last_batch", "pad", "drop"),
        ({"data": {"format": "resident"}}, "data.format", "resident", "image_folder"),
        ({"backbone": {"name": "resnet18"}}, "backbone.name", "resnet18", "resnet10t"),
        (
            {"method_kwargs": {"mixmask": {"switch": False}}},
            "method_kwargs.mixmask.switch",
            "False",
            "True",
        ),
        (
            {"method_kwargs": {"mixmask": None}},
            "method_kwargs.mixmask",
            "not set",
            "{partner: random",
        ),
        (
            {"method_kwargs": {"unmix": {}}},
            "method_kwargs.unmix is {partner: reverse, ",
            "prob: 0.5, beta: 1.0}",
            "",
        ),
    ],
)
def test_a_key_that_the_checkpoint_decides_is_refused(
    change: dict[str, Any], key: str, new: str, old: str, saved: Path, tmp_path: Path
) -> None:
    before = snapshot(saved.parents[2])
    with pytest.raises(ConfigError) as error:
        pretrain(config(tmp_path, resume_from_checkpoint=str(saved), **change))
    text = str(error.value)
    assert text.startswith(key), text
    if old:
        assert text.startswith(f"{key} is {new}, but checkpoint '{saved}' was made with {old}")
    assert "init_from" in text
    assert snapshot(saved.parents[2]) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("devices", [2, [0, 1]])
def test_another_number_of_processes_is_refused(devices: Any, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"devices x num_nodes gives 2 processes, .* with 1") as e:
        pretrain(config(tmp_path, resume_from_checkpoint=str(saved), devices=devices))
    assert "devices=1" in str(e.value)


def folder_of_images(root: Path, classes: str, each: int) -> Path:
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for name in classes:
            (root / split / name).mkdir(parents=True)
            for i in range(each):
                pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def on_images(root: Path) -> dict[str, Any]:
    return {"data": {"dataset": "custom", "train_path": str(root), "val_path": str(root)}}


@pytest.mark.parametrize(
    ("classes", "each", "said"),
    [
        ("ab", 24, "48 images now, 72 then"),
        ("abc", 20, "60 images now, 72 then"),
        ("abd", 24, "other labels"),
    ],
)
def test_other_images_are_refused_and_moved_ones_are_not(
    classes: str, each: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = folder_of_images(tmp_path / "first", "abc", 24)
    saved = interrupted(monkeypatch, config(tmp_path / "runs", **on_images(first)))
    before = snapshot(saved.parent)
    other = folder_of_images(tmp_path / "other", classes, each)
    cfg = config(tmp_path / "runs", resume_from_checkpoint=str(saved), **on_images(other))
    with pytest.raises(ConfigError, match=r"the train images are not those that .*") as error:
        pretrain(cfg)
    assert said in str(error.value)
    assert snapshot(saved.parent) == before  # neither args.json nor result.json was touched
    moved = first.rename(tmp_path / "moved")
    cfg = config(tmp_path / "runs", resume_from_checkpoint=str(saved), **on_images(moved))
    assert pretrain(cfg)["config"]["data"]["train_path"] == str(moved)


def test_a_longer_run_really_has_the_longer_schedule(saved: Path, tmp_path: Path) -> None:
    last = copied(saved, tmp_path)
    result = pretrain(config(tmp_path, resume_from_checkpoint=str(last), max_epochs=6))
    assert result["directory"] == str(last.parent)
    assert result["config"]["max_epochs"] == 6
    assert result["steps"] == 18
    [state] = read_checkpoint(Path(result["directory"]) / LAST)["lr_schedulers"]
    straight = pretrain(config(tmp_path / "straight", max_epochs=6))
    [other] = read_checkpoint(Path(straight["directory"]) / LAST)["lr_schedulers"]
    assert state == other
    optimizer = read_checkpoint(Path(result["directory"]) / LAST)["optimizer_states"][0]
    group = optimizer["param_groups"][0]
    assert group["lr"] == state["_last_lr"][0]
    assert group["weight_decay"] == result["config"]["optimizer"]["weight_decay"] == 1e-4


def test_what_is_watched_may_change_and_the_end_is_the_same(saved: Path, tmp_path: Path) -> None:
    straight = pretrain(config(tmp_path / "straight"))
    resumed = pretrain(
        config(
            tmp_path / "resumed",
            resume_from_checkpoint=str(copied(saved, tmp_path)),
            check_val_every_n_epoch=2,
            checkpoint={"frequency": 2},
        )
    )
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, resumed))
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(
    ("change", "start"),
    [
        ({"optimizer": {"lr": 0.5}}, "optimizer.lr is 0.5, but checkpoint"),
        ({"optimizer": {"weight_decay": 0.1}}, "optimizer.weight_decay is 0.1, but"),
        ({"optimizer": {"batch_size": 32}}, "optimizer.batch_size is 32, but"),
        ({"probe": {"init": "normal"}}, "probe.init is normal, but"),
        ({"finetune": True}, "finetune is True, but"),
    ],
)
def test_a_probe_refuses_them_too(
    change: dict[str, Any],
    start: str,
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = {
        "name": "probe",
        "pretrained_feature_extractor": str(saved),
        "data": {"dataset": "digits", "num_workers": 0},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0},
        "scheduler": {"name": "step", "lr_decay_steps": [1]},
        "checkpoint": {"enabled": True, "dir": str(tmp_path)},
        "max_epochs": 2,
        "accelerator": "cpu",
        "limit_train_batches": 2,
        "limit_val_batches": 1,
    }
    from mixmask_solo.runs.interrupt import Interrupted
    from support.tiny import interrupt_at

    with monkeypatch.context() as patch:
        interrupt_at(patch, 1, 0)
        with pytest.raises(Interrupted) as stop:
            linear(OmegaConf.create(base))
    checkpoint = str(stop.value.checkpoint)
    before = snapshot(tmp_path)
    again = OmegaConf.merge(base, change, {"resume_from_checkpoint": checkpoint})
    with pytest.raises(ConfigError) as error:
        linear(again)  # type: ignore[arg-type]
    assert str(error.value).startswith(start)
    assert snapshot(tmp_path) == before
    result = linear(OmegaConf.create({**base, "resume_from_checkpoint": checkpoint}))
    assert result["status"] == "completed"
    saved_config = json.loads((Path(result["directory"]) / "args.json").read_text())
    assert saved_config["optimizer"]["lr"] == pytest.approx(0.1 * 64 / 256)
