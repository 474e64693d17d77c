# SPDX-License-Identifier: MIT
"""docs/python.md: the loop without our classes trains, and its loss is what the paper says."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torchvision.datasets import FakeData

from docs.blocks import blocks


class Images(FakeData):
    """Two batches in the place of CIFAR-10, which would be downloaded."""

    def __init__(self, root: str, *, download: bool, transform: Any) -> None:
        super().__init__(256, (3, 32, 32), 10, transform)


def test_the_loop_of_one_page_trains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [loop] = [b for b in blocks("python", pages=("docs/python.md",)) if "CIFAR10(" in b.text]
    monkeypatch.setattr("torchvision.datasets.CIFAR10", Images)
    torch.manual_seed(0)
    told: dict[str, Any] = {}
    exec(compile(loop.text, loop.place, "exec"), told)
    [loss] = re.findall(r"step 0: loss ([\d.]+)", capsys.readouterr().out)
    # Two terms against 4,096 random keys, whose cosines move each from log(4,097) by little.
    assert abs(float(loss) - 2 * math.log(4097)) < 5
    assert told["step"] == 1
    assert told["queue"].shape == (128, 4096)
    assert torch.equal(told["queue"][:, :128], told["key"].T)


def test_the_loop_is_short() -> None:
    [loop] = [b for b in blocks("python", pages=("docs/python.md",)) if "CIFAR10(" in b.text]
    statements = [line for line in loop.text.splitlines() if line.strip()]
    assert len(statements) <= 55
