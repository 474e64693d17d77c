# SPDX-License-Identifier: MIT
# ruff: noqa: NPY002  (it is about the global generator, which others draw from)
"""The global generators at the start of a batch."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from mixmask_solo.runs.trainer import Reseed, build_trainer


def drawn(seed: int, epoch: int, batch: int, rank: int) -> tuple[float, float, float]:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    Reseed(seed).on_train_batch_start(trainer, module, None, batch)
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_they_depend_on_seed_epoch_batch_and_rank_and_on_nothing_else() -> None:
    places = [(5, 0, 0, 0), (6, 0, 0, 0), (5, 1, 0, 0), (5, 0, 1, 0), (5, 0, 0, 1)]
    first = [drawn(*place) for place in places]
    assert first == [drawn(*place) for place in places]
    for numbers in zip(*first, strict=True):
        assert len(set(numbers)) == len(places)


def test_every_trainer_has_it_with_the_runs_seed() -> None:
    cfg = OmegaConf.create({"accelerator": "cpu", "devices": 1, "max_epochs": 1, "seed": 11})
    trainer = build_trainer(cfg, [])
    assert [c.seed for c in trainer.callbacks if isinstance(c, Reseed)] == [11]  # type: ignore[attr-defined]
