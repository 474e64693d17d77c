# SPDX-License-Identifier: MIT
"""Losses are computed in float32 at least, under autocast or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mixmask_solo.objectives import full_precision, upcast


@full_precision
def product(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
    """A matrix product, which autocast would compute in half precision."""
    return scale * (a @ b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_half_precision_becomes_float32_and_nothing_else_changes(dtype: torch.dtype) -> None:
    x = torch.tensor([1.5], dtype=dtype)
    expected = torch.float32 if dtype.itemsize == 2 else dtype
    assert upcast(x).dtype == expected
    assert (upcast(x) is x) == (dtype == expected)
    assert upcast(torch.tensor([2**40])).item() == 2**40


def test_autocast_is_off_inside_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 5, 5, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        inside, outside = product(a, b, scale=2.0), a @ b
    assert outside.dtype == torch.bfloat16
    assert torch.equal(inside, 2.0 * (a @ b))
    halves = a.bfloat16(), b.bfloat16()
    assert torch.equal(product(*halves), halves[0].float() @ halves[1].float())


def test_gradients_come_back_in_the_precision_of_the_input() -> None:
    x = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
    product(x, torch.eye(2)).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16
    assert torch.equal(x.grad, torch.ones_like(x))
