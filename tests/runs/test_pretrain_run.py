# SPDX-License-Identifier: MIT
"""Whole runs on a few batches of digits: results, resuming, interrupting, divergence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import NonFiniteLoss

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


@pytest.mark.parametrize("method", sorted(HEADS))
def test_every_method_runs_and_writes_its_result(method: str, tmp_path: Path) -> None:
    result = pretrain(config(tmp_path, method, max_epochs=1, knn_eval={"enabled": True, "k": 5}))
    directory = Path(result["directory"])
    saved = json.loads((directory / "result.json").read_text())
    assert saved["status"] == "completed"
    assert saved["steps"] == 3
    assert saved["images_per_second"] > 0
    assert saved["config"]["method_kwargs"]["mixmask"]["grid_size"] == 2
    for name in ("train_mixmask_loss", "train_mixmask_lam", "val_knn_acc1", "train_embedding_std"):
        assert name in saved["metrics"], name
    assert {p.name for p in directory.iterdir()} >= {
        LAST,
        "tiny-ep0.ckpt",
        "args.json",
        "metrics.csv",
        "tensorboard",
    }
    assert not list(directory.glob(".*.tmp"))


@pytest.mark.parametrize("method", ["mocov2", "mocov2plus", "simclr"])
@pytest.mark.parametrize("batch", [0, 2])
def test_interrupted_and_resumed_equals_uninterrupted(
    method: str, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "a", method))
    with monkeypatch.context() as patch:
        interrupt_at(patch, epoch=1, batch=batch)
        with pytest.raises(Interrupted) as stop:
            pretrain(config(tmp_path / "b", method))
    assert stop.value.checkpoint is not None
    resumed = pretrain(config(tmp_path / "b", method, resume_from_checkpoint=stop.value.checkpoint))
    assert resumed["steps"] == straight["steps"] == 9
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, resumed))
    assert a.keys() == b.keys()
    different = [k for k in a if not torch.equal(a[k], b[k])]
    assert not different


def test_a_crash_resumes_from_the_last_epoch_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "a", "byol"))

    def crash(self: Any, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (2, 1):
            raise RuntimeError("power cut")

    again = config(tmp_path / "b", "byol", auto_resume={"enabled": True})
    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(again)
    resumed = pretrain(again)
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, resumed))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert len(list((tmp_path / "b" / "byol").iterdir())) == 1


def test_auto_resume_refuses_another_configuration_and_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = {"auto_resume": {"enabled": True}}
    with monkeypatch.context() as patch:
        interrupt_at(patch, epoch=0, batch=1)
        with pytest.raises(Interrupted):
            pretrain(config(tmp_path, **on))
    other = config(tmp_path, max_epochs=1, **on)
    other.max_epochs = 3
    other.method_kwargs.mixmask.grid_size = 4
    first = pretrain(other)
    assert first["steps"] == 9
    second = pretrain(other)  # finished: nothing is left to do
    assert second == {**first, "already": True}
    assert len(list((tmp_path / "simclr").iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"backbone": {"name": "resnet18"}}, "backbone.name=resnet10t"),
        ({"method_kwargs": {"proj_output_dim": 8}}, "method_kwargs.proj_output_dim=16"),
    ],
)
def test_resuming_a_checkpoint_of_another_model_is_refused(
    change: dict[str, Any], fragment: str, tmp_path: Path
) -> None:
    made = pretrain(config(tmp_path, max_epochs=1, limit_train_batches=1))
    last = Path(made["directory"]) / LAST
    with pytest.raises(ConfigError, match=fragment):
        pretrain(config(tmp_path, resume_from_checkpoint=str(last), **change))


def test_a_torn_checkpoint_is_named(tmp_path: Path) -> None:
    torn = tmp_path / "torn.ckpt"
    torn.write_bytes(b"PK\x03\x04 not all of it")
    with pytest.raises(ConfigError, match=r"torn\.ckpt' is damaged"):
        pretrain(config(tmp_path, resume_from_checkpoint=str(torn)))


def test_a_diverging_loss_stops_the_run_and_names_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mixmask_solo.methods import get_methods

    cls = get_methods("builtin")["simclr"]
    original = cls.training_step

    def step(self: Any, batch: Any, batch_idx: int) -> Any:
        loss = original(self, batch, batch_idx)
        return loss * float("nan") if (self.current_epoch, batch_idx) == (1, 1) else loss

    monkeypatch.setattr(cls, "training_step", step)
    with pytest.raises(NonFiniteLoss) as error:
        pretrain(config(tmp_path))
    text = str(error.value)
    assert "epoch 1, batch 1" in text
    assert "train_nce_loss=" in text
    last = next((tmp_path / "simclr").glob(f"*/{LAST}"))
    assert str(last) in text
    assert all(torch.isfinite(w).all() for w in weights(last).values())
    assert json.loads((last.parent / "result.json").read_text())["status"] == "failed"


def test_accumulated_batches_have_their_own_draws(tmp_path: Path) -> None:
    result = pretrain(config(tmp_path, accumulate_grad_batches=3, max_epochs=1))
    assert result["steps"] == 1
    assert result["status"] == "completed"


@pytest.mark.parametrize("precision", ["bf16-mixed"])
def test_mixed_precision(precision: str, tmp_path: Path) -> None:
    result = pretrain(config(tmp_path, "mocov2plus", precision=precision, max_epochs=1))
    assert 0 < result["metrics"]["train_mixmask_loss"] < 20
