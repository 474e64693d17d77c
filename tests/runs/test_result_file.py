# SPDX-License-Identifier: MIT
"""result.json says what happened: from the first step on, over all pieces."""

from __future__ import annotations

import csv
import json
import os
import socket
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.records.checkpoints import AtomicCheckpointIO, read_checkpoint
from mixmask_solo.runs import epoch_state, result_file
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config, crash_at, interrupt_at, interrupted

MEASURED = {"knn_eval": {"enabled": True, "k": 5}, "log_every_n_steps": 1}
NO_TIME = ("ended", "started", "train_seconds", "wall_seconds")


def read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


def rows(folder: str | Path) -> list[dict[str, str]]:
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def look(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, seen: list[Any]) -> None:
    """Reads result.json while the run goes."""
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (epoch, batch):
            seen.append(read(self.run.directory))
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
    first = read(saved.parent)
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


def test_interrupted_twice_in_one_epoch_its_figures_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **MEASURED)
    for batch in (1, 1, 2):  # once more at the very batch it goes on with
        interrupted(monkeypatch, cfg, epoch=2, batch=batch)
    done = pretrain(cfg)
    assert [p["steps"] for p in done["pieces"]] == [7, 0, 1, 1]
    assert done["metrics"] == straight["metrics"]
    assert rows(done["directory"]) == rows(straight["directory"])


def test_features_that_were_not_saved_make_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **MEASURED)
    monkeypatch.setattr(epoch_state, "_LIMIT", 0)
    for batch in (1, 2):
        interrupted(monkeypatch, cfg, epoch=1, batch=batch)
    interrupted(monkeypatch, cfg, epoch=2, batch=0)
    done = pretrain(cfg)
    assert "k-NN of this epoch is left out" in caplog.text
    found = [bool(r["val_knn_acc1"]) for r in rows(done["directory"]) if r["val_acc1"]]
    assert found == [True, False, True]
    assert done["metrics"] == straight["metrics"]


@pytest.mark.parametrize("watched", [True, False])
def test_a_checkpoint_of_mid_epoch_without_its_figures_goes_on(
    watched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    knn = {"knn_eval": {"enabled": watched, "k": 5}}
    saved = interrupted(monkeypatch, config(tmp_path, **knn), epoch=1, batch=1)
    content = torch.load(saved, weights_only=True)
    del content["mixmask_solo_epoch"]  # as an older version wrote it
    AtomicCheckpointIO().save_checkpoint(content, saved)
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(saved), **knn))
    assert done["steps"] == 9
    assert ("val_knn_acc1" in done["metrics"]) is watched  # of the last epoch, which is whole


def test_a_rare_validation_searches_in_its_own_epochs_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = {"check_val_every_n_epoch": 2, "max_epochs": 2, **MEASURED}
    straight = pretrain(config(tmp_path / "straight", **rare))
    cfg = config(tmp_path, auto_resume={"enabled": True}, **rare)
    with monkeypatch.context() as patch:
        crash_at(patch, 1, 1)
        with pytest.raises(RuntimeError):
            pretrain(cfg)
    assert pretrain(cfg)["metrics"] == straight["metrics"]


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
    assert read(folder)["status"] == "failed"
    assert read(folder)["error"] == "RuntimeError: power cut"
    done = pretrain(cfg)
    assert "error" not in done
    assert [p["images"] for p in done["pieces"]] == [7 * 16, 3 * 16]  # one batch was done twice
    assert done["metrics"] == straight["metrics"]
    assert rows(folder) == rows(straight["directory"])  # none missing, none doubled


def test_a_step_has_only_what_it_measured(tmp_path: Path) -> None:
    now_and_then = {"mixmask": {"prob": 0.5, "grid_size": 2}}
    done = pretrain(config(tmp_path, method_kwargs=now_and_then, log_every_n_steps=1))
    steps = [r for r in rows(done["directory"]) if r["train_nce_loss_step"]]
    assert len(steps) == 9
    mixed = [r["train_mixmask_loss_step"] for r in steps]
    assert 0 < sum(map(bool, mixed)) < 9
    assert len({m for m in mixed if m}) == sum(map(bool, mixed))  # none told twice
    assert [bool(r["train_embedding_std_step"]) for r in steps] == [True, False, False] * 3


def test_a_killed_piece_is_told_as_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = interrupted(monkeypatch, config(tmp_path))
    content = read(saved.parent)
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


def test_an_interrupt_in_the_last_epochs_end_only_lets_it_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = InterruptSaver.on_train_epoch_end

    def hook(self: InterruptSaver, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 2:
            self.requested = 2
        original(self, trainer, module)

    monkeypatch.setattr(InterruptSaver, "on_train_epoch_end", hook)
    assert pretrain(config(tmp_path))["status"] == "completed"


def test_an_interrupt_at_an_epochs_end_resumes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = pretrain(config(tmp_path / "straight", **MEASURED))
    original = InterruptSaver.on_train_epoch_end

    def hook(self: InterruptSaver, trainer: Any, module: Any) -> None:
        if trainer.current_epoch == 1:
            self.requested = 15
        original(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(InterruptSaver, "on_train_epoch_end", hook)
        with pytest.raises(Interrupted) as stop:
            pretrain(config(tmp_path, **MEASURED))
    assert stop.value.signum == 15
    done = pretrain(config(tmp_path, resume_from_checkpoint=str(stop.value.checkpoint), **MEASURED))
    assert done["metrics"] == straight["metrics"]
    assert rows(done["directory"]) == rows(straight["directory"])


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_at(monkeypatch, -1, -1)
    hook = InterruptSaver.on_train_batch_start

    def twice(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            self._request(2, None)
            self._request(2, None)
        hook(self, trainer, module, data, batch_idx)

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", twice)
    with pytest.raises(Interrupted) as stop:
        pretrain(config(tmp_path))
    assert stop.value.checkpoint is not None
    assert not stop.value.saved
    folder = Path(stop.value.checkpoint).parent
    assert read(folder)["status"] == "interrupted"
    assert read(folder)["steps"] == 4
    assert read_checkpoint(stop.value.checkpoint)["global_step"] == 3
