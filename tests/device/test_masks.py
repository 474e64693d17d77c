# SPDX-License-Identifier: MIT
"""Masks drawn on a GPU: a pool waits once for the device, and a step does not."""

from typing import Any

import pytest
import torch

from mixmask_solo.masks import blocked, discrete
from mixmask_solo.strategies import Step, build_strategies
from support.fake_cuda import fake_gpu
from support.methods import run_config

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("ratio", [0.5, [0.2, 0.8]])
@pytest.mark.parametrize(("kind", "grid"), [("block", 8), ("block", 2), ("discrete", 2)])
def test_at_most_one_wait_in_fifty_steps(
    monkeypatch: pytest.MonkeyPatch, kind: str, grid: int, ratio: Any, per_sample: bool
) -> None:
    block = {"mask_type": kind, "grid_size": grid, "ratio": ratio, "per_sample": per_sample}
    [strategy] = build_strategies(run_config("simclr", {"mixmask": block}))
    steps = 150
    with fake_gpu(monkeypatch) as watch:
        device = torch.device("cuda", 0)
        view = torch.rand(512, 3, 8, 8, device=device)
        for batch in range(steps):
            [branch] = strategy.branches((view, view), Step(1, 0, batch, 0, device))
            assert branch.images is not None
            assert branch.images.shape == view.shape
    assert watch.found.total() <= steps / 50


@pytest.mark.parametrize("draw", [blocked, discrete])
def test_ratios_per_mask(monkeypatch: pytest.MonkeyPatch, draw: Any) -> None:
    with fake_gpu(monkeypatch) as watch:
        ratio = torch.rand(16, device="cuda")
        mask = draw(16, 8, ratio, generator=torch.Generator("cuda"))
        assert (mask.shape, mask.device.type) == ((16, 8, 8), "cuda")
    assert watch.found.total() <= 1
