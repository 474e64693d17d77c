# SPDX-License-Identifier: MIT
"""What a run tells about its speed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from mixmask_solo.runs.progress import ProgressReport, Throughput


def test_a_run_resumed_within_an_epoch_is_timed_from_its_own_start() -> None:
    # Lightning does not call on_train_epoch_start for an epoch that was begun before.
    trainer: Any = SimpleNamespace(world_size=2)
    throughput = Throughput()
    throughput.on_train_start(trainer, None)  # type: ignore[arg-type]
    throughput.on_train_batch_end(trainer, None, None, [torch.zeros(8)], 5)  # type: ignore[arg-type]
    assert throughput.images == 16
    assert 0 < throughput.seconds < 60


def test_a_line_has_the_terms_in_short_and_no_total_twice(capsys: Any) -> None:
    latest = {"loss": 3.0, "train_loss": 3.0, "train_mixture_loss": 2.0, "train_nce_loss": 1.0}
    latest |= {"train_mixmask_loss": 2.0, "train_mixmask_lam": 0.5, "train_acc1": 9.0}
    kept: Any = SimpleNamespace(latest=latest, epoch={"val_knn_acc1": 12.34})
    trainer: Any = SimpleNamespace(
        current_epoch=1, max_epochs=2, num_training_batches=4, is_global_zero=True
    )
    report = ProgressReport(kept, Throughput())
    report.on_train_start(trainer)
    report.on_train_epoch_end(trainer)
    told = capsys.readouterr().err
    shown = "epoch 2/2 4/4 loss 3.000 · nce 1.000 · mixmask 2.000 · λ 0.500 · k-NN 12.3% · 0 img/s"
    assert told.startswith(shown)
