# SPDX-License-Identifier: MIT
"""Whole runs of many heads: as the runs of each, resumed, without a best one, refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.linear import linear
from support.processes import run_two
from support.runs import rows

State = dict[str, torch.Tensor]
HEADS = {"optimizer": {"lr": [0.1, 3.0]}, "probe": {"normalize": [False, True]}}
CACHED = {"probe": {"features": "cached"}, "scheduler": {"name": "exponential", "min_lr": 1e-4}}
TOLD = ("val_acc1", "val_acc5", "val_loss", "holdout_acc1", "holdout_loss")


def config(folder: Path, checkpoint: Path, *more: dict[str, Any]) -> DictConfig:
    base = {
        "name": "probe",
        "pretrained_feature_extractor": str(checkpoint),
        "data": {"dataset": "digits", "num_workers": 0, "format": "resident"},
        "optimizer": {"name": "sgd", "batch_size": 64, "lr": 0.1, "weight_decay": 1e-3},
        "scheduler": {"name": "cosine"},
        "checkpoint": {"enabled": True, "dir": str(folder)},
        "max_epochs": 3,
        "accelerator": "cpu",
        "limit_train_batches": 3,
        "limit_val_batches": 2,
    }
    return OmegaConf.merge(base, *map(OmegaConf.create, more))  # type: ignore[return-value]


def weights(result: dict[str, Any], name: str = "") -> State:
    state: State = read_checkpoint(Path(result["directory"]) / LAST)["state_dict"]
    return {k.removeprefix(name): v for k, v in state.items() if k.startswith(name)}


@pytest.mark.parametrize("kind", [{}, CACHED], ids=["augmented", "cached"])
def test_a_head_is_as_in_a_run_of_its_own(
    kind: dict[str, Any], tmp_path: Path, run_folder: Path
) -> None:
    result = linear(config(tmp_path, run_folder, kind, HEADS))
    own = {"optimizer": {"lr": 3.0}, "probe": {"normalize": True, "holdout": 0.1}}
    alone = linear(config(tmp_path, run_folder, kind, own))
    ours, theirs = weights(result, "classifiers.3."), weights(alone, "classifier.")
    for key in ("weight", "bias"):
        assert torch.allclose(ours[key], theirs[key], rtol=0, atol=1e-6)
    saved = json.loads((Path(result["directory"]) / "result.json").read_text())
    head = saved["heads"][3]
    assert [head[k] for k in ("lr", "weight_decay", "normalize")] == [3.0, 1e-3, True]
    for name in TOLD:
        assert head[name] == pytest.approx(alone["metrics"][name], rel=1e-6)
    best = max(range(4), key=lambda i: saved["heads"][i]["holdout_acc1"])
    assert saved["chosen"]["head"] == best
    assert saved["metrics"]["val_acc1"] == saved["heads"][best]["val_acc1"]
    assert saved["data"]["train"]["images"] == 1297
    assert saved["data"]["holdout"]["images"] == 145
    assert saved["chosen"]["holdout_images"] == (145 if kind else 128)  # two batches of 64
    assert saved["learning_rates"]["head_3"] == pytest.approx(3.0 / 4)
    assert saved["config"]["probe"]["holdout"] == 0.1
    columns = set(rows(result["directory"])[0])
    assert {name for name in columns if name.startswith("head_")} == {
        f"head_{i}_{name}" for i in range(4) for name in ("val_acc1", "holdout_acc1")
    }


def test_resumed_in_the_middle_of_an_epoch(
    tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = linear(config(tmp_path / "a", run_folder, HEADS))
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        self.requested |= (trainer.current_epoch, batch_idx) == (1, 1)
        original(self, trainer, module, data, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_batch_start", hook)
        with pytest.raises(Interrupted) as stop:
            linear(config(tmp_path / "b", run_folder, HEADS))
    again = {"resume_from_checkpoint": str(stop.value.checkpoint)}
    other = {"optimizer": {"lr": [0.1, 2.0]}}
    with pytest.raises(ConfigError, match=r"optimizer\.lr is \[0\.1, 2\.0\].*\[0\.1, 3\.0\]"):
        linear(config(tmp_path / "b", run_folder, HEADS, again, other))
    with pytest.raises(ConfigError, match=r"probe\.holdout is 0\.2, but .* with 0\.1"):
        linear(config(tmp_path / "b", run_folder, HEADS, again, {"probe": {"holdout": 0.2}}))
    resumed = linear(config(tmp_path / "b", run_folder, HEADS, again))
    a, b = weights(straight), weights(resumed)
    assert all(torch.equal(a[k], b[k]) for k in a)
    for key in ("heads", "chosen", "best_epoch", "best_metrics"):
        assert resumed[key] == straight[key]


def test_without_images_held_out_no_head_is_the_best(tmp_path: Path, run_folder: Path) -> None:
    whole = {"probe": {"holdout": None}, "max_epochs": 1}
    result = linear(config(tmp_path, run_folder, HEADS, whole))
    assert result["data"]["train"]["images"] == 1442
    assert "holdout" not in result["data"]
    assert result["chosen"] is None
    assert not {"val_acc1", "holdout_acc1"} & result["metrics"].keys()
    assert not {"best_epoch", "best_metrics"} & result.keys()
    assert all({"val_acc1", "val_loss"} <= head.keys() for head in result["heads"])


def test_a_run_goes_on_without_heads_that_diverge(tmp_path: Path, run_folder: Path) -> None:
    wild = {"optimizer": {"lr": [1e38, 0.1]}, "max_epochs": 1}
    result = linear(config(tmp_path, run_folder, wild))
    head = {"lr": 1e38, "weight_decay": 1e-3, "normalize": False, "diverged": True}
    assert result["heads"][0] == head
    assert result["chosen"]["head"] == 1
    assert result["status"] == "completed"


def test_lists_of_one_are_a_single_probe(tmp_path: Path, run_folder: Path) -> None:
    one = {"optimizer": {"lr": [0.1]}, "probe": {"normalize": [False]}, "max_epochs": 1}
    result = linear(config(tmp_path, run_folder, one))
    assert weights(result, "classifier.").keys() == {"weight", "bias"}
    assert result["config"]["optimizer"]["lr"] == pytest.approx(0.1 / 4)
    assert result["config"]["probe"] == {"features": "augmented", "init": "default"}
    assert "heads" not in result
    assert result["data"]["train"]["images"] == 1442


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": {"lr": []}}, r"optimizer\.lr is an empty list"),
        ({"optimizer": {"lr": [1, -1]}}, r"optimizer\.lr\[1\] is -1\.0: give .* above 0"),
        ({"optimizer": {"lr": ["x"]}}, r"optimizer\.lr is \['x'\]: give a number or a list"),
        ({"optimizer": {"lr": "0.1,1"}}, r"optimizer\.lr is '0\.1,1': give a number or a list"),
        ({"optimizer": {"weight_decay": [0, 0.0]}}, r"weight_decay holds 0\.0 twice"),
        ({"optimizer": {"lr": [0.1 * i for i in range(1, 66)]}}, r"gives 65 heads: at most 64"),
        ({"probe": {"normalize": [True, True]}}, r"probe\.normalize holds true twice"),
        ({"probe": {"normalize": "yes"}}, r"probe\.normalize is 'yes': give true or false or"),
        ({"probe": {"holdout": 0}}, r"probe\.holdout is 0\.0: give .* above 0"),
        ({"probe": {"holdout": 0.6}}, r"probe\.holdout is 0\.6: .* at most 0\.5"),
        ({"optimizer": {"lr": [1, 2]}, "finetune": True}, r"lr is a list and finetune is true"),
        (
            {"optimizer": {"weight_decay": [0, 1]}, "gradient_clip_val": 1.0},
            r"weight_decay is a list and gradient_clip_val is 1\.0",
        ),
        (
            {"probe": {"normalize": [True, False]}, "precision": "16-mixed"},
            r"probe\.normalize is a list and precision is 16-mixed",
        ),
        ({"probe": {"holdout": 0.001}}, r"probe\.holdout is 0\.001: .* probe\.holdout=null"),
    ],
)
def test_wrong_lists(
    change: dict[str, Any], message: str, tmp_path: Path, run_folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        linear(config(tmp_path, run_folder, change))
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def worker(rank: int, port: int, folder: Path, checkpoint: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(rank))
    both = {"devices": 2, "strategy": "ddp", "optimizer": {"batch_size": 32}}
    linear(config(folder, Path(checkpoint), HEADS, both, {"limit_val_batches": None}))


@pytest.mark.slow
def test_two_processes_train_the_heads_of_one(tmp_path: Path, run_folder: Path) -> None:
    run_two(__file__, tmp_path / "two", str(run_folder))
    [folder] = (tmp_path / "two" / "linear").iterdir()
    both = json.loads((folder / "result.json").read_text())
    one = linear(config(tmp_path, run_folder, HEADS, {"limit_val_batches": None}))
    ours, theirs = weights({"directory": folder}), weights(one)
    assert all(torch.allclose(ours[k], theirs[k], rtol=0, atol=1e-5) for k in theirs)
    assert both["chosen"] == one["chosen"]
    assert both["chosen"]["holdout_images"] == 145  # none twice, none left out
    for name in ("val_loss", "holdout_loss"):
        found, expected = ([head[name] for head in run["heads"]] for run in (both, one))
        assert found == pytest.approx(expected, rel=1e-4)


if __name__ == "__main__":
    worker(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
