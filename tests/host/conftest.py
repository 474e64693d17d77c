# SPDX-License-Identifier: MIT
"""A small configuration and random batches for host tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from support.methods import golden_config


@pytest.fixture
def make_cfg(golden) -> Callable[..., DictConfig]:
    """``make_cfg("byol", **{"data.num_classes": 3})``: the golden configuration, changed."""
    return partial(golden_config, golden("solo_step"))


@pytest.fixture
def make_batch() -> Callable[..., list[Any]]:
    """``make_batch([12, 12, 8])``: indexes, views of these sizes, labels."""

    def make(sizes: list[int], n: int = 8, classes: int = 10) -> list[Any]:
        generator = torch.Generator().manual_seed(1)
        views = [torch.rand(n, 3, s, s, generator=generator) for s in sizes]
        return [torch.arange(n), views, torch.arange(n) % classes]

    return make
