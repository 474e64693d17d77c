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
    run: Any = SimpleNamespace(newest=newest)
    return Readback(run)


def trainer(epoch: int, **metrics: float) -> Any:
    logged = {name: torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(current_epoch=epoch, callback_metrics=logged, accumulate_grad_batches=2)


def test_an_epoch_tells_its_own_metrics_and_earlier_ones_with_their_epoch() -> None:
    kept = readback()
    first = trainer(0, loss_step=9.0, loss_epoch=2.0, val_acc1=50.0)
    kept.on_train_epoch_end(first)
    assert kept.told() == {"metrics": {"loss": 2.0, "val_acc1": 50.0}, "metrics_epoch": 0}
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
        }


@pytest.mark.parametrize(
    ("newest", "good"),
    [(None, "no checkpoint was written yet"), (Path("a/last.ckpt"), "checkpoint: a/last.ckpt")],
)
def test_a_loss_that_is_not_finite_ends_the_run(newest: Path | None, good: str) -> None:
    kept, now = readback(newest), trainer(3, train_nce_loss_step=2.0)
    kept.on_train_batch_end(now, None, torch.tensor(1.5), None, 6)
    assert kept.latest == {"loss": 3.0, "train_nce_loss": 2.0}
    with pytest.raises(NonFiniteLoss, match=rf"epoch 3, batch 7 \(loss=nan, .*=2\); .*{good}\."):
        kept.on_train_batch_end(now, None, {"loss": torch.tensor(float("nan"))}, None, 7)
