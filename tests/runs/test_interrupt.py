# SPDX-License-Identifier: MIT
"""A signal lets a run finish its step and save; a second Ctrl-C stops it where it is."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.records.checkpoints import read_checkpoint
from mixmask_solo.runs.interrupt import Interrupted, InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.runs import result, rows
from support.tiny import config, interrupt_at

MEASURED = {"knn_eval": {"enabled": True, "k": 5}, "log_every_n_steps": 1}
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


def sent(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, batch: int) -> None:
    """This process gets a real signal while the optimiser makes this batch's step."""
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        original(self, trainer, module, data, batch_idx)
        if batch_idx == batch:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", hook)


def test_a_signal_saves_after_the_step_and_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    sent(monkeypatch, signal.SIGUSR1, 1)
    with pytest.raises(Interrupted) as stop:
        pretrain(config(tmp_path))
    told = stop.value
    assert (told.signum, told.saved, told.saving) == (signal.SIGUSR1, True, True)
    assert told.checkpoint is not None
    assert read_checkpoint(told.checkpoint)["global_step"] == 2
    assert result(Path(told.checkpoint).parent)["status"] == "interrupted"
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_batches_of_one_step_are_not_torn_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches a step, told in the first of the second step: that step is done."""
    sent(monkeypatch, signal.SIGTERM, 2)
    with pytest.raises(Interrupted) as stop:
        pretrain(config(tmp_path, accumulate_grad_batches=2, limit_train_batches=6))
    content = read_checkpoint(str(stop.value.checkpoint))
    assert content["global_step"] == 2
    progress = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]
    assert progress["completed"] == 4


def test_a_run_that_saves_nothing_stops_without_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(monkeypatch, signal.SIGINT, 0)
    with pytest.raises(Interrupted) as stop:
        pretrain(config(tmp_path, checkpoint={"enabled": False}))
    assert stop.value.signum == signal.SIGINT
    assert stop.value.checkpoint is None
    assert not stop.value.saving
    assert not list(tmp_path.rglob("*.ckpt"))


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
    record = result(Path(str(stop.value.checkpoint)).parent)
    assert (record["epochs"], record["metrics_epoch"]) == (2, 1)  # two are finished, the last is 1
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
    assert result(folder)["status"] == "interrupted"
    assert result(folder)["steps"] == 4
    assert read_checkpoint(stop.value.checkpoint)["global_step"] == 3
