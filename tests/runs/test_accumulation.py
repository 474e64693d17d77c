# SPDX-License-Identifier: MIT
"""Batches accumulated into one optimiser step: what is shown, and at what rates it trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.runs.interrupt import InterruptSaver
from mixmask_solo.runs.pretrain import pretrain
from support.tiny import config


def shown(line: str) -> dict[str, float]:
    """``loss 3.1 · class 2.3 · …`` by name."""
    parts = (re.fullmatch(r"(?:.*\d/\d+ )?([\w-]+) ([\d.]+)%?", p) for p in line.split(" · "))
    return {match[1]: float(match[2]) for match in parts if match}


@pytest.mark.parametrize("batches", [1, 4])
def test_the_loss_on_the_bar_is_the_sum_of_its_terms(
    batches: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    size = {"limit_train_batches": 4, "max_epochs": 1}
    pretrain(config(tmp_path, "byol", accumulate_grad_batches=batches, **size))
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("epoch 1/1 in")]
    terms = shown(line)
    total = terms["classifier"] + terms["cos"] + terms["mixmask"]
    assert terms["loss"] == pytest.approx(total, abs=2e-3)
    assert total > 5


@pytest.mark.parametrize("batches", [1, 4])
@pytest.mark.parametrize("scheduler", ["warmup_cosine", "none"])
def test_rates_are_those_of_readme(
    batches: int, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lr · batch · processes / 256 · accumulation; ends of the schedule by accumulation alone."""
    used: list[float] = []
    original = InterruptSaver.on_train_batch_start

    def hook(self: InterruptSaver, trainer: Any, module: Any, data: Any, batch_idx: int) -> None:
        used.append(trainer.optimizers[0].param_groups[0]["lr"])
        original(self, trainer, module, data, batch_idx)

    monkeypatch.setattr(InterruptSaver, "on_train_batch_start", hook)
    result = pretrain(
        config(
            tmp_path,
            "simsiam",
            accumulate_grad_batches=batches,
            limit_train_batches=8,
            max_epochs=2,
            optimizer={"lr": 0.5, "classifier_lr": 0.3},
            scheduler={
                **{"name": scheduler, "warmup_epochs": 1, "interval": "epoch"},
                **{"warmup_start_lr": 0.001, "min_lr": 0.002},
            },
        )
    )
    peak = 0.5 * 16 / 256 * batches
    rates = result["learning_rates"]
    assert rates == pytest.approx(
        dict.fromkeys(rates, peak) | {"classifier": 0.3 * 16 / 256 * batches}
    )
    assert {"backbone", "projector", "predictor"} <= rates.keys()
    if scheduler == "none":
        assert used == pytest.approx([peak] * 16)
    else:
        assert used == pytest.approx([0.001 * batches] * 8 + [peak] * 8)
