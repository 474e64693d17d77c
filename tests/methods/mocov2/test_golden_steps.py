# SPDX-License-Identifier: MIT
"""The published steps, number for number, through ``training_step`` of the real class."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mixmask_solo.mixtures import Mixture
from mixmask_solo.strategies import Branch

N = 16
REVERSE = torch.arange(N).flip(0)


def numbers(golden: Any, name: str) -> SimpleNamespace:
    found = {key: torch.from_numpy(value) for key, value in golden(name).items() if value.ndim}
    scalars = {key: float(value) for key, value in golden(name).items() if not value.ndim}
    return SimpleNamespace(**found, **scalars)


def rows(block: int) -> Tensor:
    """Images that stand for the rows of the block-th table."""
    return torch.arange(block * N, (block + 1) * N, dtype=torch.float64).view(N, 1, 1, 1)


def branch(name: str, block: int, lam: float, partner: Tensor = REVERSE) -> Branch:
    share = torch.full((N,), lam, dtype=torch.float64)
    return Branch.of(name, Mixture(rows(block), share, partner))


def close(actual: Tensor, expected: Any) -> None:
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), expected, rtol=0, atol=1e-10)


@pytest.fixture
def run(give: Any) -> Callable[[Any, list[Branch]], tuple[Tensor, tuple[Tensor, ...]]]:
    """``run(model, branches)``: loss, and gradient by each table of the online network."""

    def run(model: Any, branches: list[Branch]) -> tuple[Tensor, tuple[Tensor, ...]]:
        give(model, branches)
        unlabelled = torch.full((N,), -1)
        loss = model.training_step([torch.arange(N), [rows(0), rows(1)], unlabelled], 0)
        loss.backward()
        return loss, model.backbone.rows.grad.split(N)

    return run


@pytest.mark.parametrize("shuffle", [True, False])
def test_mixmask(golden: Any, make_table_model: Any, run: Any, shuffle: bool) -> None:
    z = numbers(golden, "mixmask_moco")
    # An asymmetric step never looks up view 2 online, nor view 1 among the keys.
    unused = torch.full_like(z.q, float("nan"))
    online, keys = torch.cat([z.q, unused, z.q_mixed]), torch.cat([unused, z.k])
    model = make_table_model(online, keys, z.queue, temperature=z.T, shuffle=shuffle)
    loss, (grad_q, grad_unused, grad_mixed) = run(model, [branch("mixmask", 2, z.lam)])
    close(loss, z.total)
    close(grad_q, z.grad_q)
    close(grad_mixed, z.grad_q_mixed)
    assert not grad_unused.any()
    close(model.queue, z.queue_after)
    assert torch.equal(model.queue_ptr, z.queue_ptr_after)


def test_mixmask_at_other_shares(golden: Any, make_table_model: Any, run: Any) -> None:
    z = numbers(golden, "mixmask_moco")
    online, keys = torch.cat([z.q, z.q, z.q_mixed]), torch.cat([z.k, z.k])
    model = make_table_model(online, keys, z.queue, temperature=z.T)
    for lam, total in zip(z.lam_extra.tolist(), z.total_extra, strict=True):
        model.queue.copy_(z.queue)
        close(run(model, [branch("mixmask", 2, lam)])[0], total)


def test_both_with_different_permutations(golden: Any, make_table_model: Any, run: Any) -> None:
    z = numbers(golden, "mixmask_both_moco")
    online, keys = torch.cat([z.q, z.q, z.q_mixed, z.q_mask]), torch.cat([z.k, z.k])
    model = make_table_model(online, keys, z.queue, temperature=z.T)
    branches = [
        branch("unmix", 2, z.lam_unmix),
        branch("mixmask", 3, z.lam_mask, z.index_mask),
    ]
    loss, (grad_q, _, grad_mixed, grad_mask) = run(model, branches)
    close(loss, z.total)
    close(grad_q, z.grad_q)
    close(grad_mixed, z.grad_q_mixed)
    close(grad_mask, z.grad_q_mask)
    close(model.queue, z.queue_after)
    assert torch.equal(model.queue_ptr, z.queue_ptr_after)


@pytest.mark.parametrize("form", ["symmetric", "asymmetric"])
def test_unmix(golden: Any, make_table_model: Any, run: Any, form: str) -> None:
    z = numbers(golden, "unmix_symmetric_moco")
    online, keys = torch.cat([z.q1, z.q2, z.q_mixed]), torch.cat([z.k1, z.k2])
    model = make_table_model(online, keys, z.queue, temperature=z.T, symmetric=form == "symmetric")
    loss, (grad_1, grad_2, grad_mixed) = run(model, [branch("unmix", 2, z.lam)])
    close(loss, getattr(z, f"total_{form}"))
    close(model.queue, getattr(z, f"queue_after_{form}"))
    assert torch.equal(model.queue_ptr, getattr(z, f"queue_ptr_after_{form}"))
    if form == "symmetric":
        close(grad_1, z.grad_q1)
        close(grad_2, z.grad_q2)
        close(grad_mixed, z.grad_q_mixed)


def test_vanilla_is_the_clean_part(golden: Any, make_table_model: Any, run: Any) -> None:
    z = numbers(golden, "unmix_symmetric_moco")
    online, keys = torch.cat([z.q1, z.q2]), torch.cat([z.k1, z.k2])
    for symmetric, expected in ((False, z.loss_12), (True, z.loss_12 + z.loss_21)):
        model = make_table_model(online, keys, z.queue, temperature=z.T, symmetric=symmetric)
        close(run(model, [])[0], expected)
