# SPDX-License-Identifier: MIT
"""What a run tells about its speed and its metrics."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from mixmask_solo.runs.progress import ProgressReport, terms
from mixmask_solo.runs.throughput import Throughput


def test_a_run_resumed_within_an_epoch_is_timed_from_its_own_start() -> None:
    # Lightning does not call on_train_epoch_start for an epoch that was begun before.
    trainer: Any = SimpleNamespace(world_size=2)
    throughput = Throughput()
    throughput.on_train_start(trainer, None)  # type: ignore[arg-type]
    throughput.on_train_batch_end(trainer, None, None, [torch.zeros(8)], 5)  # type: ignore[arg-type]
    assert throughput.images == 16
    assert 0 < throughput.seconds < 60


def test_an_epochs_rate_is_its_own(monkeypatch: Any) -> None:
    now = 0.0
    monkeypatch.setattr("mixmask_solo.runs.throughput.time.perf_counter", lambda: now)
    trainer: Any = SimpleNamespace(world_size=1)
    throughput = Throughput()
    throughput.on_train_start(trainer, None)  # type: ignore[arg-type]
    for seconds in (10.0, 2.0):
        throughput.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        now += seconds
        throughput.on_train_batch_end(trainer, None, None, [torch.zeros(20)], 0)  # type: ignore[arg-type]
        assert throughput.of_epoch == 20 / seconds
        now += 5  # a validation
        throughput.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert throughput.images_per_second == 40 / 12  # of the run


METRICS = {
    **{"loss": 3.0, "train_loss": 3.0, "train_mixture_loss": 2.0, "train_nce_loss": 1.0},
    **{"train_mixmask_loss": 2.0, "train_mixmask_lam": 0.5, "train_acc1": 9.0},
    **{"train_lr": 0.03, "train_grad_norm": 1.234, "train_neg_cos_sim": -0.5},
    **{"val_knn_acc1": 12.34, "train_class_loss": 2.0},
}


def test_terms_are_short_and_in_the_order_of_their_right_to_be_shown() -> None:
    assert terms(METRICS, 1234.5) == [
        *("loss 3.000", "online k-NN 12.3%", "λ 0.500", "1,234 img/s"),
        *("nce 1.000", "mixmask 2.000", "cos -0.500", "classifier 2.000"),
        *("lr 0.03", "gradient 1.23"),
    ]


def test_shares_of_two_mixtures_are_told_apart() -> None:
    shares = {"train_mixmask_lam": 0.5, "train_unmix_lam": 0.25}
    assert terms(shares, 0.0) == ["λ mixmask 0.500", "λ unmix 0.250"]


def test_the_rank_is_told_of_the_highest_there_can_be() -> None:
    measured = {"train_embedding_std": 0.08, "train_embedding_rank": 41.3, "val_acc1": 9.0}
    assert terms(measured, 0.0, 128) == ["linear 9.0%", "std 0.080", "rank 41/128"]
    assert terms(measured, 0.0)[-1] == "rank 41"
    assert terms(measured, 0.0, classifier="top-1")[0] == "top-1 9.0%"  # of a fine-tuned network


@pytest.mark.parametrize(
    ("cfg", "place"),
    [({"max_epochs": 2}, "epoch 2/2"), ({"max_epochs": 2, "max_steps": 2000}, "step 1,500/2,000")],
)
def test_a_finished_epoch_leaves_a_line(capsys: Any, cfg: dict[str, int], place: str) -> None:
    kept: Any = SimpleNamespace(latest={}, epoch={"train_loss": 2.5, "val_knn_acc1": 12.34})
    kept.run = SimpleNamespace(cfg=OmegaConf.create(cfg))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    trainer: Any = SimpleNamespace(
        current_epoch=1,
        max_epochs=2,
        global_step=1500,
        num_training_batches=4,
        is_global_zero=True,
    )
    trainer.optimizers = [optimizer]
    report = ProgressReport(kept, Throughput())
    report.setup(trainer, None, "fit")  # type: ignore[arg-type]
    report.on_train_start(trainer)
    report.on_train_epoch_end(trainer)
    report.close()
    assert capsys.readouterr().err == f"{place} in 0:00 · loss 2.500 · online k-NN 12.3%\n"
