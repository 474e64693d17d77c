# SPDX-License-Identifier: MIT
"""The spread of the embedding, heard at the projector."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from mixmask_solo.runs.embedding import EmbeddingStd


class Method(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        self.logged: list[tuple[str, float]] = []

    def log(self, name: str, value: torch.Tensor, **options: Any) -> None:
        self.logged.append((name, float(value)))

    def hooks(self) -> int:
        return sum(len(m._forward_hooks) for m in self.modules())


def slow(z: torch.Tensor) -> float:
    rows = [[v / math.sqrt(sum(w**2 for w in row)) for v in row] for row in z.tolist()]
    stds = []
    for column in zip(*rows, strict=True):
        mean = sum(column) / len(column)
        stds.append(math.sqrt(sum((v - mean) ** 2 for v in column) / (len(column) - 1)))
    return sum(stds) / len(stds)


def test_every_so_many_batches_it_logs_the_first_pass_of_the_step() -> None:
    callback, method, trainer = EmbeddingStd(every=2), Method(), None
    expected = []
    for index in range(3):
        callback.on_train_batch_start(trainer, method, None, index)  # type: ignore[arg-type]
        first, mixed = torch.randn(5, 4), torch.randn(5, 4)
        z = method.projector(first)
        method.projector(mixed)
        if index != 1:
            expected.append(pytest.approx(slow(z), rel=1e-5))
        callback.on_train_batch_end(trainer, method, None, None, index)  # type: ignore[arg-type]
        assert method.hooks() == 0
    assert method.logged == [("train_embedding_std", value) for value in expected]


def test_a_step_that_fails_leaves_nothing_on_the_method() -> None:
    callback, method = EmbeddingStd(), Method()
    callback.on_train_batch_start(None, method, None, 0)  # type: ignore[arg-type]
    assert method.hooks() == 1
    callback.on_exception(None, method, RuntimeError())
    assert method.hooks() == 0
