# SPDX-License-Identifier: MIT
"""Where a run comes from, in what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mixmask_solo.records import provenance as records
from mixmask_solo.records.checkpoints import LAST, read_checkpoint, stored_config
from mixmask_solo.runs.final_knn import final_knn
from mixmask_solo.runs.pretrain import pretrain, resolve
from mixmask_solo.runs.train import _distinct
from support.runs import result, rows
from support.tiny import config

SHORT = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1}


def test_records_hold_the_command_and_are_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/mixmask-pretrain", "name=a b", "seed=3"])
    folder = Path(pretrain(config(tmp_path, **SHORT))["directory"])
    origin = result(folder)["provenance"]
    assert origin["command"] == "mixmask-pretrain 'name=a b' seed=3"
    assert origin["overrides"] == []  # not a Hydra command
    assert origin["date"] <= result(folder)["heartbeat"]
    assert origin["machine"] == result(folder)["process"]["host"]
    stored = json.loads((folder / "args.json").read_text())
    assert stored["provenance"] == origin
    [piece] = result(folder)["pieces"]
    assert piece["commit"] == origin["commit"]
    bare = folder / "bare.ckpt"
    content = read_checkpoint(folder / LAST)
    assert "provenance" not in (stored_config({}, bare) or {})
    assert stored_config({}, bare) == stored_config(content, bare)


def test_the_state_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "repo" / "mixmask_solo"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(records.mixmask_solo, "__file__", str(package / "__init__.py"))
    code = records._code.__wrapped__
    assert code() == {"commit": None, "dirty": None}

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path / "repo"), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    assert code() == {"commit": None, "dirty": None}  # installed inside of another's checkout
    git("add", ".")
    git("commit", "-m", "a")
    assert code() == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (package / "__init__.py").write_text("changed = 1\n")
    assert code() == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert code() == {"commit": None, "dirty": None}


def test_a_folder_is_called_by_what_changes_the_training() -> None:
    given = ["method_kwargs.mixmask.grid_size=4", "++optimizer.lr=0.1", "optimizer.lr=0.3"]
    given += ["seed=3", "data.train_path=/a/b", "checkpoint.dir=x", "devices=2", "~momentum"]
    given += ["++strategy=ddp", "limit_val_batches=1", "max_epochs=7"]
    assert _distinct(given) == ["grid_size=4", "lr=0.3", "max_epochs=7"]
    start = "pretrained_feature_extractor"
    assert _distinct([f"{start}=runs/a", "optimizer.lr=1"]) == ["lr=1"]
    assert _distinct([f"{start}=null", "optimizer.lr=1"]) == ["scratch", "lr=1"]


def test_the_final_accuracy_is_that_of_evaluation(tmp_path: Path) -> None:
    more: dict[str, Any] = {"limit_train_batches": None, "limit_val_batches": None}
    knn = {"enabled": True, "k": 20, "distance_func": "cosine"}
    cfg = config(tmp_path, max_epochs=1, knn_eval=knn, optimizer={"batch_size": 128}, **more)
    done = pretrain(cfg)
    folder = Path(done["directory"])
    kept = json.loads((folder / "knn.json").read_text())
    assert done["knn"]["acc1"] == result(folder)["knn"]["acc1"] == kept["trained"]
    assert (done["knn"]["k"], done["knn"]["temperature"]) == (20, 0.07)
    assert done["knn"]["acc1"] != done["metrics"]["val_knn_acc1"]
    assert done["best_metrics"]["val_knn_acc1"]["epoch"] == 0
    assert json.loads((folder / "knn.json").read_text())["rows"][1:] == []
    resolved = resolve(cfg)
    fresh = {k: v for k, v in done.items() if k != "knn"}
    for change in (
        {"knn_eval": {"final": False}},
        {"knn_eval": {"enabled": False}},
        {"checkpoint": {"enabled": False}},
        {"limit_val_batches": 3},
        {"limit_train_batches": 1},
        {"limit_train_batches": 0.5},
    ):
        off = resolved.copy()
        off.merge_with(change)
        assert final_knn(off, fresh, "cpu", lambda: False) == {}
    for change in ({"status": "interrupted"}, {"knn": done["knn"]}):
        assert final_knn(resolved, {**fresh, **change}, "cpu", lambda: False) == {}
    assert final_knn(resolved, fresh, "cpu", lambda: True) == {}  # asked to end
    assert final_knn(resolved, fresh, "cpu", lambda: False) == {"knn": done["knn"]}
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    [compared] = events.Scalars("hp/val_knn_acc1")
    assert compared.value == pytest.approx(done["metrics"]["val_knn_acc1"])
    hparams = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"method_kwargs/mixmask/grid_size" in hparams
    logged = rows(folder)
    assert {float(r["train_lr"]) for r in logged if r.get("train_lr")}
    assert {"train_loss_epoch", "train_grad_norm_epoch"} <= logged[0].keys()
