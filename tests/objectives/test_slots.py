# SPDX-License-Identifier: MIT
"""ADIOS' penalties of areas: against the published code's numbers, and where float32 ends.

``adios_penalty.npz``: ``masks (B,M,S,S)`` and ``masks_orig``, slots that sum to 1 at each pixel.
a = sum over pixels / S²; pen = 1 / (sin(π·a) + 1e-10); penalties are means over the batch and sums
over the slots (SimSiam: of both sets); entropy terms Σ s·log s over batch and slots, s the softmax
over the slots (SimSiam: over those of both sets together, with one mask the sets by themselves).
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mixmask_solo.objectives import area_penalty, slot_entropy
from mixmask_solo.strategies.adios import Adios
from mixmask_solo.strategies.adios_options import AdiosOptions


@pytest.fixture
def facts(golden: Any) -> dict[str, Tensor]:
    found = {k: v for k, v in golden("adios_penalty").items() if v.dtype.kind in "fiu"}
    return {key: torch.from_numpy(value) for key, value in found.items()}


def close(mine: Tensor, published: Tensor) -> None:
    torch.testing.assert_close(mine, published, rtol=1e-6, atol=1e-9, check_dtype=False)


def masks(facts: dict[str, Tensor], views: int = 1) -> dict[int, Tensor]:
    names = ["masks_orig", "masks"][-views:]
    return {v: facts[name].double() for v, name in enumerate(names)}


def cost(
    facts: dict[str, Tensor], *, single: bool, views: int, alpha: float, entropy: float
) -> Tensor:
    block = AdiosOptions(
        slots=facts["masks"].shape[1], single=single, size=16, views="both", pairing="pair",
        clean=True, both_masked=True, weight_decay=0.0, depth=2, alpha=alpha, entropy=entropy,
    )  # fmt: skip
    return Adios(block)._cost(masks(facts, views))


def test_the_penalty_of_each_mask(facts: dict[str, Tensor]) -> None:
    found = masks(facts)[0].mean((2, 3))
    close(area_penalty(found), facts["per_mask_penalty"])
    close(area_penalty(found).mean(0), facts["per_slot_penalty"])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("method", ["simclr", "byol", "simsiam"])
def test_penalty_and_entropy_of_each_method(
    method: str, single: bool, facts: dict[str, Tensor]
) -> None:
    name = method + "_s" * single
    views = 2 if method == "simsiam" else 1
    penalty = cost(facts, single=single, views=views, alpha=1.0, entropy=0.0)
    close(penalty, facts[f"{name}_penalty"].squeeze())
    entropy = -cost(facts, single=single, views=views, alpha=0.0, entropy=1.0)
    close(entropy, facts[f"{name}_entropy_term"].squeeze())


def test_the_gradient_by_the_masks(facts: dict[str, Tensor]) -> None:
    masks = facts["masks"].double().requires_grad_()
    area_penalty(masks.mean((2, 3))).mean(0).sum().backward()
    assert masks.grad is not None
    close(masks.grad, facts["simclr_penalty_grad_masks"])


def test_the_penalty_as_a_function_of_the_area(facts: dict[str, Tensor]) -> None:
    grid, published = facts["area_grid"].double(), facts["area_penalty"]
    assert {0.0, 1.0} <= set(grid.tolist())
    within = grid < 1
    close(area_penalty(grid)[within], published[within])
    # At 1 float64's own sin(π), 1.2e-16, shows in the published number; the limit is 1e10.
    close(area_penalty(grid)[~within], torch.tensor([1e10] * int((~within).sum())))
    torch.testing.assert_close(published[~within], area_penalty(grid)[~within], rtol=2e-6, atol=0)


def test_float32_stays_positive_where_the_published_code_does_not(facts: dict[str, Tensor]) -> None:
    grid = facts["area_grid"].float()
    assert facts["area_penalty_float32"].min() < 0
    found = area_penalty(grid)
    assert (found >= 1 / (1 + 1e-10)).all()
    exact = area_penalty(grid.double()).float()
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)
    near = torch.linspace(0.9999, 1.0, 4001)
    assert (area_penalty(near).diff() >= 0).all()


def test_half_of_the_image_costs_least() -> None:
    grid = torch.linspace(0, 1, 1001, dtype=torch.float64)
    assert grid[area_penalty(grid).argmin()] == pytest.approx(0.5)
    torch.testing.assert_close(area_penalty(grid), area_penalty(1 - grid))


def test_entropy_term_by_loops() -> None:
    area = torch.rand(3, 4, dtype=torch.float64)
    total = 0.0
    for row in area.tolist():
        powers = [math.exp(a) for a in row]
        total += sum(p / sum(powers) * math.log(p / sum(powers)) for p in powers)
    assert slot_entropy(area).item() == pytest.approx(total, abs=1e-12)
    equal = torch.full((3, 4), 0.25, dtype=torch.float64)
    assert slot_entropy(equal) <= slot_entropy(area)
