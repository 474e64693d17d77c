# SPDX-License-Identifier: MIT
# ruff: noqa: NPY002  (it is about the global generator, which others draw from)
"""Whatever else draws random numbers in a training step draws them by the step's number."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from mixmask_solo.data.augmentations.randomness import mix

__all__ = ["Reseed"]


class Reseed(Callback):
    """Starts all global generators anew for each batch, from (seed, epoch, batch, rank).

    What this package draws comes from generators of its own. Dropout and stochastic depth of a
    backbone and some of solo-learn's losses draw from the global ones, whose states no checkpoint
    holds: started like this, an interrupted run goes on with the numbers of one that never was.

    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds Python's, NumPy's and torch's generators; no device is waited for."""
        key = mix(self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        random.seed(key)
        np.random.seed(key & 0xFFFFFFFF)
        torch.default_generator.manual_seed(key)
        kind = pl_module.device.type
        if kind in ("cuda", "mps"):  # not torch.manual_seed: it asks every kind there is
            getattr(torch, kind).manual_seed(key)
