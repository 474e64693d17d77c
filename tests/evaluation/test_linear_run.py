# SPDX-License-Identifier: MIT
"""Whole probes on digits: frozen, fine-tuned, cached, resumed, refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.linear import linear, resolve
from support.checkpoint import load_pretrained

State = dict[str, torch.Tensor]
CACHED = {
    "probe": {"features": "cached", "init": "normal"},
    "optimizer": {"name": "adam", "batch_size": 256, "lr": 0.01, "weight_decay": 5e-6},
    "scheduler": {"name": "exponential", "min_lr": 1e-5},
    "max_epochs": 60,
}


def config(folder: Path, checkpoint: Path, **more: Any) -> DictConfig:
    base = {
        "name": "probe",
        "pretrained_feature_extractor": str(checkpoint),
        "data": {"dataset": "digits", "num_workers": 0},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "weight_decay": 0.0},
        "scheduler": {"name": "step", "lr_decay_steps": [1]},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 2,
        "accelerator": "cpu",
        "limit_train_batches": 3,
        "limit_val_batches": 2,
    }
    return OmegaConf.merge(base, OmegaConf.create(more))  # type: ignore[return-value]


def weights(result: dict[str, Any]) -> State:
    state: State = read_checkpoint(Path(result["directory"]) / LAST)["state_dict"]
    return state


def backbone(state: State) -> State:
    return {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}


def test_a_frozen_backbone_stays_as_it_was(tmp_path: Path, run_folder: Path) -> None:
    result = linear(config(tmp_path, run_folder))
    assert result["status"] == "completed"
    assert result["steps"] == 6
    assert {"val_acc1", "val_acc5", "train_loss"} <= result["metrics"].keys()
    assert result["best_epoch"] in (0, 1)
    saved = json.loads((Path(result["directory"]) / "result.json").read_text())
    assert saved["best_val_acc1"] >= saved["metrics"]["val_acc1"]
    before, after = load_pretrained(run_folder).state_dict(), backbone(weights(result))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_accumulated_batches_change_neither_the_rate_nor_the_loss_that_is_shown(
    tmp_path: Path, run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = linear(
        config(tmp_path, run_folder, accumulate_grad_batches=3, log_every_n_steps=1, max_epochs=1)
    )
    assert result["steps"] == 1
    assert result["learning_rates"] == {"classifier": pytest.approx(0.1 * 64 / 256)}
    with (Path(result["directory"]) / "metrics.csv").open(newline="") as file:
        [mean] = [
            row["train_loss_epoch"] for row in csv.DictReader(file) if row["train_loss_epoch"]
        ]
    assert f" · loss {float(mean):.3f} " in capsys.readouterr().err


def test_the_checkpoint_completes_the_configuration(tmp_path: Path, run_folder: Path) -> None:
    resolved, pretrained = resolve(config(tmp_path, run_folder))
    assert resolved.backbone.name == "resnet10t"
    assert resolved.data.augmentations.crop_size == 24  # that of the pretraining
    assert resolved.pretrained_feature_extractor == str(run_folder / LAST)
    assert pretrained.path == run_folder / LAST
    assert resolved.optimizer.lr == pytest.approx(0.1 * 64 / 256)
    mine = {"dataset": "digits", "augmentations": {"crop_size": 32}}
    assert resolve(config(tmp_path, run_folder, data=mine))[0].data.augmentations.crop_size == 32


def test_images_are_enlarged_and_the_last_batch_is_kept_where_asked(
    tmp_path: Path, run_folder: Path
) -> None:
    image = {"resize": 27, "interpolation": "bicubic"}
    data = {"dataset": "digits", "last_batch": "keep", "augmentations": image}
    cfg = config(tmp_path, run_folder, data=data, max_epochs=1, limit_train_batches=None)
    cfg.optimizer.batch_size = 256
    result = linear(cfg)
    assert result["steps"] == 6  # five of 256 and one of 162 images
    kept = result["config"]["data"]
    assert kept["augmentations"] == {"crop_size": 24, **image}
    cfg.data.augmentations.resize = 23
    with pytest.raises(ConfigError, match=r"data\.augmentations\.resize is 23: .* at least 24"):
        linear(cfg)


def test_fine_tuning_moves_the_backbone(tmp_path: Path, run_folder: Path) -> None:
    result = linear(config(tmp_path, run_folder, finetune=True, max_epochs=1))
    before, after = load_pretrained(run_folder).state_dict(), backbone(weights(result))
    moved = [k for k in before if not torch.equal(before[k], after[k])]
    assert any(k.endswith("running_mean") for k in moved)
    assert any(k.endswith("conv1.weight") for k in moved)


def test_cached_features_reach_a_good_accuracy_in_seconds(tmp_path: Path, run_folder: Path) -> None:
    whole = {"limit_train_batches": None, "limit_val_batches": None}
    result = linear(config(tmp_path, run_folder, **CACHED, **whole))
    assert result["steps"] == 60 * 6  # the last, smaller batch of 1,442 included
    assert result["metrics"]["val_acc1"] > 60
    assert result["config"]["scheduler"]["name"] == "exponential"
    assert weights(result).keys() == {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize("kind", ["augmented", "cached"])
def test_interrupted_and_resumed_equals_uninterrupted(
    kind: str, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {**CACHED, "max_epochs": 3} if kind == "cached" else {}
    straight = linear(config(tmp_path / "a", run_folder, **more))
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        self.requested |= (trainer.current_epoch, batch_idx) == (1, 1)
        original(self, trainer, module, data, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", hook)
        with pytest.raises(Interrupted) as stop:
            linear(config(tmp_path / "b", run_folder, **more))
    again = {**more, "resume_from_checkpoint": stop.value.checkpoint}
    resumed = linear(config(tmp_path / "b", run_folder, **again))
    a, b = weights(straight), weights(resumed)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert resumed["best_epoch"] == straight["best_epoch"]
    assert resumed["directory"] == str(Path(str(stop.value.checkpoint)).parent)


def test_auto_resume_knows_another_checkpoint_from_this_one(
    tmp_path: Path, run_folder: Path, untrained_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = {"auto_resume": {"enabled": True}}

    def crash(self: Any, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if trainer.current_epoch == 1:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            linear(config(tmp_path, run_folder, **on))
    [first] = (tmp_path / "linear").iterdir()
    other = linear(config(tmp_path, untrained_folder, **on))
    assert other["directory"] != str(first)
    assert linear(config(tmp_path, run_folder, **on))["directory"] == str(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"backbone": {"name": "resnet18"}}, r"backbone\.name is resnet18, but .* a resnet10t"),
        ({"probe": {"feature": "cached"}}, r"probe\.feature.*did you mean features"),
        ({"probe": {"features": "cashed"}}, r"probe\.features is 'cashed'"),
        ({"probe": {"features": "cached"}, "finetune": True}, r"finetune is true and probe"),
        ({"probe": {"features": "cached"}, "mixup": 0.8}, r"mixup is 0\.8 and probe"),
        ({"auto_augment": True}, r"auto_augment is true"),
        ({"scheduler": {"name": "exponential"}}, r"scheduler\.min_lr is 0"),
        ({"schedular": {}}, r"schedular.*did you mean scheduler"),
        ({"pretrained_feature_extractor": "lost.ckpt"}, r"^pretrained_feature_extractor: .*lost"),
        ({"pretrained_feature_extractor": "None"}, r"pretrained_feature_extractor is 'None'"),
    ],
)
def test_wrong_configurations(
    change: dict[str, Any], message: str, tmp_path: Path, run_folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        linear(config(tmp_path, run_folder, **change))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_has_to_be_named(tmp_path: Path, run_folder: Path) -> None:
    cfg = config(tmp_path, run_folder)
    cfg.pretrained_feature_extractor = "???"
    with pytest.raises(ConfigError, match="pretrained_feature_extractor"):
        linear(cfg)
