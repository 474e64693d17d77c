# SPDX-License-Identifier: MIT
"""Mixture terms of official MoCo against sums written out in loops."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies import Branch

N, D, K, T = 5, 6, 20, 0.3
PARTNER = torch.tensor([2, 0, 4, 3, 1])  # not its own inverse, one fixed point
LAM = torch.tensor([0.0, 0.25, 0.5, 0.9, 1.0], dtype=torch.float64)


def nce(q: Tensor, k: Tensor, queue: Tensor) -> float:
    """Cross entropy of one query over its key and the queue."""
    logits = [float(q @ k) / T, *(float(q @ queue[:, j]) / T for j in range(K))]
    return math.log(sum(map(math.exp, logits))) - logits[0]


@pytest.fixture
def run(make_table_model: Any, give: Any) -> Any:
    """Loss of a step with one branch, less the clean loss; and the embeddings it was made of."""
    torch.manual_seed(7)
    unit = lambda *shape: F.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)  # noqa: E731
    q, k, queue = unit(3, N, D), unit(3, N, D), unit(K, D).T

    def run(symmetric: bool, **branch: Any) -> tuple[float, Tensor, Tensor, Tensor]:
        images = torch.arange(3 * N, dtype=torch.float64).view(3, N, 1, 1, 1)
        step = [torch.arange(N), [images[0], images[1]], torch.full((N,), -1)]
        losses = []
        for branches in ([], [Branch.of("b", Mixture(images[2], LAM, PARTNER), **branch)]):
            model = make_table_model(
                q.flatten(0, 1), k.flatten(0, 1), queue, temperature=T, symmetric=symmetric
            )
            give(model, branches)
            losses.append(model.training_step(step, 0).item())
        return losses[1] - losses[0], q, k, queue

    return run


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize(
    ("symmetric", "targets", "views"),
    [
        (False, None, [1]),
        (False, "other", [1]),
        (True, None, [0, 1]),
        (True, "both", [0, 1]),
        (True, "other", [1]),
    ],
)
def test_query(run: Any, symmetric: bool, targets: Any, views: list[int], switch: bool) -> None:
    loss, q, k, queue = run(symmetric, targets=targets, switch=switch)
    expected = 0.0
    for v in views:
        for i in range(N):
            lam, j = float(LAM[i]), int(PARTNER[i])
            expected += lam * nce(q[2][i], k[v][i], queue) / N
            expected += switch * (1 - lam) * nce(q[2][i], k[v][j], queue) / N
    assert loss == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("switch", [True, False])
@pytest.mark.parametrize(("targets", "views"), [(None, [1]), ("both", [0, 1])])
def test_pair_adds_the_mirror(run: Any, targets: Any, views: list[int], switch: bool) -> None:
    loss, q, k, queue = run(True, targets=targets, switch=switch, pairing="pair")
    expected = 0.0
    for v in views:
        for i in range(N):
            lam, j = float(LAM[i]), int(PARTNER[i])
            own = nce(q[2][i], k[v][i], queue) + nce(q[v][i], k[2][i], queue)
            other = nce(q[2][i], k[v][j], queue) + nce(q[v][j], k[2][i], queue)
            expected += (lam * own + switch * (1 - lam) * other) / N
    assert loss == pytest.approx(expected, abs=1e-10)


def test_weight_scales_the_branch(run: Any) -> None:
    assert run(True, weight=0.5)[0] == pytest.approx(run(True)[0] / 2, abs=1e-10)
