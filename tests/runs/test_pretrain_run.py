# SPDX-License-Identifier: MIT
"""Whole runs on a few batches of digits: results, resuming, interrupting, divergence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.readback import NonFiniteLoss
from support.methods import HEADS
from support.tiny import config, crash_at, interrupted, weights


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
    measured: dict[str, Any] = {"knn_eval": {"enabled": True, "k": 5}, "log_every_n_steps": 1}
    straight = pretrain(config(tmp_path / "a", method, **measured))
    saved = interrupted(monkeypatch, config(tmp_path / "b", method, **measured), batch=batch)
    resumed = pretrain(
        config(tmp_path / "b", method, resume_from_checkpoint=str(saved), **measured)
    )
    assert resumed["steps"] == straight["steps"] == 9
    a, b = (weights(Path(r["directory"]) / LAST) for r in (straight, resumed))
    assert a.keys() == b.keys()
    different = [k for k in a if not torch.equal(a[k], b[k])]
    assert not different
    assert resumed["metrics"] == straight["metrics"]
    one, other = (Path(r["directory"]) / "metrics.csv" for r in (straight, resumed))
    assert one.read_bytes() == other.read_bytes()


def test_a_crash_resumes_from_the_last_epoch_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "a", "byol"))
    again = config(tmp_path / "b", "byol", auto_resume={"enabled": True})
    with monkeypatch.context() as patch:
        crash_at(patch, 2, 1)
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
    interrupted(monkeypatch, config(tmp_path, **on), epoch=0)
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
    assert "epoch 2, batch 2" in text
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
