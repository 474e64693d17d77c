# SPDX-License-Identifier: MIT
"""Batches of features that were computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.order.sampler import position

__all__ = ["CachedFeatures"]

Labelled = tuple[Tensor, Tensor]


class CachedFeatures(LightningDataModule):
    """Training and validation features, whole on one device.

    The order of an epoch is a function of (seed, epoch), so a resumed run sees the same batches.
    The last, smaller batch is kept.

    Args:
        train: ``(M, D)`` features and ``(M,)`` labels.
        val: the same for validation.
        batch_size: rows of one batch.
        seed: of the order.
    """

    train_labels = "all"

    def __init__(self, train: Labelled, val: Labelled, batch_size: int, seed: int) -> None:
        super().__init__()
        self.train, self.val = train, val
        self.batch_size, self.seed = batch_size, seed

    def train_dataloader(self) -> Any:
        """Shuffled batches ``(features (n, D), labels (n,))``."""
        return _Batches(self)

    def val_dataloader(self) -> Any:
        """All validation features in order."""
        return _InOrder(self.val)


class _InOrder:
    def __init__(self, rows: Labelled, size: int = 4096) -> None:
        self.batches = list(zip(*(x.split(size) for x in rows), strict=True))

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Labelled]:
        return iter(self.batches)


class _Batches:
    def __init__(self, data: CachedFeatures) -> None:
        self.data = data

    def state_dict(self) -> dict[str, int]:
        """Nothing but a sign to Lightning that resuming in mid-epoch is safe."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The trainer's counters say where to go on."""

    def __len__(self) -> int:
        return -(-len(self.data.train[1]) // self.data.batch_size)

    def __iter__(self) -> Iterator[Labelled]:
        # Not a generator: where the trainer stands has to be read now, not at the first batch.
        trainer = self.data.trainer
        return self._from(*(position(trainer) if trainer is not None else (0, 0)))

    def _from(self, epoch: int, start: int) -> Iterator[Labelled]:
        features, labels = self.data.train
        generator = torch.Generator().manual_seed(mix(self.data.seed, epoch))
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        for rows in order.split(self.data.batch_size)[start:]:
            yield features[rows], labels[rows]
