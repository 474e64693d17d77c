# SPDX-License-Identifier: MIT
"""Runs on images of which some, or all, have no label."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.evaluation.run_knn import evaluate_knn
from mixmask_solo.runs.linear import linear
from mixmask_solo.runs.pretrain import pretrain
from support.images import write_parquet
from support.tiny import config

SOME = [0, 1, None, 2] * 8
KNN = {"enabled": True, "k": 3, "distance_func": "cosine"}


def data(folder: Path, train: Any, val: Any, **more: Any) -> dict[str, Any]:
    paths = {
        "train_path": str(write_parquet(folder / "train" / "a.parquet", train)),
        "val_path": str(write_parquet(folder / "val" / "a.parquet", val)),
    }
    return {"dataset": "parquet", "num_workers": 0, **paths, **more}


def run(folder: Path, block: dict[str, Any], **more: Any) -> dict[str, Any]:
    options = {"max_epochs": 1, "limit_train_batches": None, "log_every_n_steps": 1, **more}
    options["optimizer"] = {"batch_size": 8}
    options["knn_eval"] = KNN
    return pretrain(config(folder, data=block, limit_val_batches=None, **options))


def columns(result: dict[str, Any]) -> set[str]:
    with (Path(result["directory"]) / "metrics.csv").open(newline="") as file:
        return set(next(csv.reader(file)))


def test_pretraining_with_some_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run(tmp_path, data(tmp_path, SOME, [0, None, 1, 2, None]))
    hits = result["metrics"]["val_acc1"] * 3 / 100
    assert hits == pytest.approx(round(hits), abs=1e-4)  # of three images
    assert result["data"]["val"]["images"] == 3
    assert "data.train_path: 8 of 32 images have no label: left out of every acc" in caplog.text
    assert "data.val_path: 2 of 5 images have no label: left out of every accuracy" in caplog.text


@pytest.mark.parametrize(("train", "val"), [(SOME, [None] * 5), (SOME, 5), (32, [0, 1])])
def test_pretraining_without_any_goes_on_without_accuracies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, train: Any, val: Any
) -> None:
    result = run(tmp_path, data(tmp_path, train, val))
    assert result["status"] == "completed"
    names = {*result["metrics"], *columns(result)}
    assert not [name for name in names if name.startswith("val")]
    assert ("train_acc1" in result["metrics"]) == (train is SOME)
    assert any("train_acc" in name for name in names) == (train is SOME)
    key, count = ("val", 5) if train is SOME else ("train", 32)
    assert f"data.{key}_path: none of {count} images has a label" in caplog.text


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on images without labels, whose val_path has them."""
    folder = tmp_path_factory.mktemp("pretrained")
    return Path(run(folder, data(folder, 32, [0, 1, None, 2]))["directory"])


def probe(checkpoint: Path, block: dict[str, Any], folder: Path, **more: Any) -> dict[str, Any]:
    cfg = {
        "data": block,
        "pretrained_feature_extractor": str(checkpoint),
        "optimizer": {"name": "sgd", "batch_size": 8, "lr": 1.0, "weight_decay": 0.0},
        "scheduler": {"name": "none"},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 2,
        "accelerator": "cpu",
    }
    return linear(OmegaConf.merge(cfg, more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"mixup": 0.2, "label_smoothing": 0.1},
        {"label_smoothing": 0.1},
        {"probe": {"features": "cached"}, "optimizer": {"batch_size": 64}},
    ],
)
def test_a_probe_learns_from_labelled_images_alone(
    pretrained: Path, tmp_path: Path, more: dict[str, Any]
) -> None:
    block = data(tmp_path, SOME, [0, None, 1, 2, None])
    result = probe(pretrained, block, tmp_path, **more)
    hits = result["metrics"]["val_acc1"] * 3 / 100
    assert hits == pytest.approx(round(hits), abs=1e-4)
    assert result["data"]["train"]["images"] == 24
    assert result["metrics"]["train_loss"] > 0


def test_knn_counts_labelled_images_alone(pretrained: Path, tmp_path: Path) -> None:
    block = data(tmp_path, [0] * 3 + [None] * 3, [0, None, 0])
    result = evaluate_knn(pretrained, data=block)
    assert (result["train_images"], result["test_images"], result["trained"]) == (3, 2, 100.0)


def test_half_a_bank_finds_the_same(pretrained: Path, tmp_path: Path) -> None:
    block = data(tmp_path, [0] * 9 + [9] * 9, [0, 9, 9])
    half = evaluate_knn(pretrained, data=block, bank_dtype="bfloat16", bank_device="cpu")
    whole = evaluate_knn(pretrained, data=block)
    assert half["trained"] == whole["trained"]
    assert (half["bank_dtype"], whole["bank_dtype"]) == ("bfloat16", "float32")  # kept on record


@pytest.mark.parametrize("key", ["train", "val"])
def test_where_none_has_a_label_the_columns_are_named(
    pretrained: Path, tmp_path: Path, key: str
) -> None:
    block = data(tmp_path, 20 if key == "train" else SOME, SOME if key == "train" else 20)
    told = rf"data\.{key}_path is '.*': none of its 20 images has a label"
    with pytest.raises(ConfigError, match=told):
        evaluate_knn(pretrained, data=block)
    with pytest.raises(ConfigError, match=told):
        probe(pretrained, block, tmp_path)


def test_the_epochs_that_are_validated_fill_the_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixmask_solo.host.builtin import WeightedKNN

    sizes: list[int] = []
    original = WeightedKNN.compute

    def compute(self: WeightedKNN) -> Any:
        sizes.append(sum(map(len, self.train_features)))
        return original(self)

    updates: list[int] = []
    monkeypatch.setattr(WeightedKNN, "compute", compute)
    plain = WeightedKNN.update
    monkeypatch.setattr(
        WeightedKNN,
        "update",
        lambda self, *a, **k: (updates.append("train_features" in k), plain(self, *a, **k)),
    )
    every = {"check_val_every_n_epoch": 2, "max_epochs": 4}
    run(tmp_path / "a", data(tmp_path, SOME, [0, 1, 2]), **every)
    assert sizes == [48, 48]  # two views of 24 labelled images, of one epoch
    assert sum(updates) == 2 * 4
    updates.clear()
    run(tmp_path / "b", data(tmp_path, SOME, [0, 1, 2]) | {"val_path": None}, max_epochs=2)
    assert not updates


def test_a_bank_that_is_too_large_is_off_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def measured(folder: str, **knn: Any) -> dict[str, Any]:
        block = data(tmp_path, SOME, [0, 1, 2])
        more = {"max_epochs": 1, "optimizer": {"batch_size": 8}, "knn_eval": KNN | knn}
        return pretrain(config(tmp_path / folder, data=block, limit_val_batches=None, **more))

    need = 24 * 2 * 16 * 4
    monkeypatch.setattr("mixmask_solo.runs.pretrain._BANK_BOUND", need - 1)
    off = measured("off", enabled="auto")
    assert "val_knn_acc1" not in off["metrics"]
    assert off["config"]["knn_eval"]["enabled"] is False
    assert "the online k-NN is off" in caplog.text
    assert "24 images x 2 crops x 16 float32" in caplog.text
    assert "knn_eval.enabled=true" in caplog.text
    assert "val_knn_acc1" in measured("half", enabled="auto", bank_dtype="float16")["metrics"]
    assert "val_knn_acc1" in measured("forced", enabled=True)["metrics"]
    monkeypatch.setattr("mixmask_solo.runs.pretrain._BANK_BOUND", need)
    fits = measured("fits", enabled="auto")
    assert "val_knn_acc1" in fits["metrics"]
    assert fits["config"]["knn_eval"]["enabled"] is True


def test_paths_that_are_given_have_labels(tmp_path: Path) -> None:
    """After pretraining with data.no_labels, k-NN takes labelled folders."""
    names = [f"flat/{i}.png" for i in range(8)]
    names += [f"{s}/{c}/{i}.png" for s in ("train", "val") for c in "ab" for i in "01"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        colour = (200, 0, 0) if "/a/" in name else (0, 0, 200)
        Image.new("RGB", (16, 16), colour).save(tmp_path / name)
    paths = {"train_path": str(tmp_path / "flat"), "val_path": str(tmp_path / "val")}
    block = {"dataset": "custom", "no_labels": True, "num_workers": 0, **paths}
    folder = run(tmp_path, block)["directory"]
    with pytest.raises(ConfigError, match=r"data\.train_path is missing.*data\.no_labels"):
        evaluate_knn(folder)
    result = evaluate_knn(folder, data={"train_path": str(tmp_path / "train")})
    assert (result["train_images"], result["test_images"], result["trained"]) == (4, 4, 100.0)
