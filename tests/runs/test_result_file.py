# SPDX-License-Identifier: MIT
"""result.json says what happened: from the first step on, over all pieces."""

from __future__ import annotations

import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.runs import result_file
from mixmask_solo.runs.interrupt import InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, rows
from support.tiny import config, crash_at, interrupted

MEASURED = {"knn_eval": {"enabled": True, "k": 5}, "log_every_n_steps": 1}
NO_TIME = ("ended", "started", "train_seconds", "wall_seconds")


def look(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, seen: list[Any]) -> None:
    """Reads result.json while the run goes."""
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            seen.append(result(self.run.directory))
        original(self, trainer, module, data, batch_idx)

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", hook)


def test_a_run_says_that_it_is_alive_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    look(monkeypatch, 0, 0, seen)
    done = pretrain(config(tmp_path, max_epochs=1))
    [running] = seen
    assert running["status"] == "running"
    assert running["process"] == {"pid": os.getpid(), "host": socket.gethostname()}
    assert running["steps"] == 0
    assert running["metrics"] == {}
    assert running["config"] == done["config"]
    age = datetime.now(timezone.utc) - datetime.fromisoformat(running["heartbeat"])
    assert 0 <= age.total_seconds() < 60
    assert done["status"] == "completed"
    assert done["id"] == running["id"]
    assert done["data"]["train"]["images"] == 1442


def test_the_heartbeat_moves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_file, "_HEARTBEAT", 0.0)
    seen: list[dict[str, Any]] = []
    look(monkeypatch, 1, 2, seen)
    pretrain(config(tmp_path, max_epochs=2))
    assert seen[0]["steps"] == 5
    assert seen[0]["pieces"][0]["images"] == 5 * 16
    assert seen[0]["metrics_epoch"] == 0
    assert seen[0]["metrics"]["train_nce_loss"] > 0


def test_interrupted_and_resumed_all_pieces_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    saved = interrupted(monkeypatch, config(tmp_path, **MEASURED), epoch=1, batch=2)
    first = result(saved.parent)
    assert (first["status"], first["steps"]) == ("interrupted", 5)
    seen: list[dict[str, Any]] = []
    with monkeypatch.context() as patch:
        look(patch, 2, 0, seen)
        done = pretrain(config(tmp_path, resume_from_checkpoint=str(saved), **MEASURED))
    assert seen[0]["status"] == "running"  # not "completed", not "interrupted"
    a, b = done["pieces"]
    assert a == first["pieces"][0]
    assert (a["first_step"], a["steps"], a["images"]) == (0, 5, 80)
    assert (b["first_step"], b["steps"], b["images"]) == (5, 4, 64)
    assert [a["status"], b["status"]] == ["interrupted", "completed"]
    assert done["wall_seconds"] == pytest.approx(a["wall_seconds"] + b["wall_seconds"])
    seconds = a["train_seconds"] + b["train_seconds"]
    assert done["images_per_second"] == pytest.approx(144 / seconds, rel=0.01)
    # an epoch that was cut in two has the means and the k-NN of the whole
    assert done["metrics"] == straight["metrics"]
    assert rows(saved.parent) == rows(straight["directory"])


def test_a_failed_run_says_why_and_its_last_piece_counts_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **MEASURED)
    with monkeypatch.context() as patch:
        crash_at(patch, 2, 1)
        with pytest.raises(RuntimeError, match="power cut"):
            pretrain(cfg)
    [folder] = (tmp_path / "simclr").iterdir()
    assert result(folder)["status"] == "failed"
    assert result(folder)["error"] == "RuntimeError: power cut"
    done = pretrain(cfg)
    assert "error" not in done
    assert [p["images"] for p in done["pieces"]] == [7 * 16, 3 * 16]  # one batch was done twice
    assert done["metrics"] == straight["metrics"]
    assert rows(folder) == rows(straight["directory"])  # none missing, none doubled


def test_a_killed_piece_is_told_as_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = interrupted(monkeypatch, config(tmp_path))
    content = result(saved.parent)
    content["pieces"][0]["status"] = content["status"] = "running"  # as SIGKILL leaves it
    (saved.parent / "result.json").write_text(json.dumps(content))
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(saved)))
    assert [p["status"] for p in done["pieces"]] == ["killed", "completed"]


def test_what_the_last_epoch_did_not_measure_is_told_with_its_own_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = {"check_val_every_n_epoch": 2, **MEASURED}
    done = pretrain(config(tmp_path / "a", **rare))
    assert done["metrics_epoch"] == 2
    assert not [name for name in done["metrics"] if name.startswith("val_")]
    assert done["earlier_metrics"]["val_knn_acc1"]["epoch"] == 1
    assert done["earlier_metrics"]["val_acc1"].keys() == {"value", "epoch"}
    [value] = [r["val_knn_acc1"] for r in rows(done["directory"]) if r["val_knn_acc1"]]
    assert done["earlier_metrics"]["val_knn_acc1"]["value"] == float(value)
    # a resumed run remembers it
    saved = interrupted(monkeypatch, config(tmp_path / "b", **rare), epoch=2, batch=1)
    again = pretrain(config(tmp_path / "b", resume_from_checkpoint=str(saved), **rare))
    assert again["earlier_metrics"] == done["earlier_metrics"]
    assert again["metrics"] == done["metrics"]


def test_a_limit_that_stops_training_early_does_not_make_it_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: InterruptSaver, trainer: Any, module: Any) -> None:
        trainer.should_stop = True

    monkeypatch.setattr(InterruptSaver, "on_train_epoch_end", stop)
    done = pretrain(config(tmp_path))
    assert (done["status"], done["epochs"]) == ("interrupted", 1)
