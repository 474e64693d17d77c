# SPDX-License-Identifier: MIT
"""Which epoch a metric is of, and a loss that is not finite."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mixmask_solo.runs.readback import NonFiniteLoss, Readback


def readback(newest: Path | None = None) -> Any:
    run: Any = SimpleNamespace(cfg={}, newest=newest)
    return Readback(run)


def trainer(epoch: int, **metrics: float) -> Any:
    logged = {name: torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(current_epoch=epoch, callback_metrics=logged, accumulate_grad_batches=2)


def test_an_epoch_tells_its_own_metrics_and_earlier_ones_with_their_epoch() -> None:
    kept = readback()
    first = trainer(0, loss_step=9.0, loss_epoch=2.0, val_acc1=50.0)
    kept.on_train_epoch_end(first)
    best = {"best_metrics": {"val_acc1": {"value": 50.0, "epoch": 0}}}
    told = {"metrics": {"loss": 2.0, "val_acc1": 50.0}, "metrics_epoch": 0}
    assert kept.told() == told | best
    second = trainer(1, loss_epoch=1.0)
    second.callback_metrics["val_acc1"] = first.callback_metrics["val_acc1"]  # not logged again
    kept.on_train_epoch_end(second)
    resumed = readback()
    resumed.load_state_dict(kept.state_dict())
    for one in (kept, resumed):
        assert one.told() == {
            "metrics": {"loss": 1.0},
            "metrics_epoch": 1,
            "earlier_metrics": {"val_acc1": {"value": 50.0, "epoch": 0}},
            **best,
        }
    for epoch, found in ((2, 40.0), (3, 60.0)):
        kept.on_train_epoch_end(trainer(epoch, val_acc1=found))
    assert kept.told()["best_metrics"] == {"val_acc1": {"value": 60.0, "epoch": 3}}


@pytest.mark.parametrize(
    ("newest", "good"),
    [(None, "no checkpoint was written yet"), (Path("a/last.ckpt"), "checkpoint: a/last.ckpt")],
)
def test_a_loss_that_is_not_finite_ends_the_run(newest: Path | None, good: str) -> None:
    kept, now = readback(newest), trainer(3, train_nce_loss_step=2.0)
    kept.on_train_batch_end(now, None, torch.tensor(1.5), None, 6)
    assert kept.latest == {"loss": 3.0, "train_nce_loss": 2.0}
    with pytest.raises(NonFiniteLoss, match=rf"epoch 4, batch 8 \(loss=nan, .*=2\); .*{good}\."):
        kept.on_train_batch_end(now, None, {"loss": torch.tensor(float("nan"))}, None, 7)


@pytest.mark.parametrize(
    "place",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
            ],
        ),
    ],
)
def test_a_step_is_read_whole_however_far_behind_the_device_is(place: str) -> None:
    kept, seen = readback(), []
    for step in range(300):
        if place == "cuda" and step % 7 == 0:
            torch.cuda._sleep(20_000_000)
        now = trainer(0, train_nce_loss_step=0.0)
        values = torch.full((2,), float(step), device=place)
        now.callback_metrics["train_nce_loss_step"] = values[0]
        kept.on_train_batch_end(now, None, values[1] / 2, None, step)
        values.fill_(-1.0)  # as the next step does with memory that is free again
        if kept.latest:
            seen.append(kept.latest["loss"])
            assert kept.latest["train_nce_loss"] == seen[-1] <= step
    assert seen == sorted(seen)
    kept.on_train_epoch_end(trainer(0))
    assert kept.latest == {"loss": 299.0, "train_nce_loss": 299.0}


def test_of_a_detector_the_highest_precision_is_the_best() -> None:
    kept = readback()
    for epoch, value in enumerate((20.0, 30.0, 25.0)):
        logged = {"val_box_ap50": value, "val_box_ap_small": -1.0, "val_images": 40.0}
        kept.on_train_epoch_end(trainer(epoch, **logged))
    assert kept.told()["best_metrics"] == {"val_box_ap50": {"value": 30.0, "epoch": 1}}
