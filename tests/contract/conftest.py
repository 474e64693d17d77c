# SPDX-License-Identifier: MIT
"""Both hosts, tiny configurations, tiny data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.host import Host, load
from mixmask_solo.methods.mocov2 import mocov2
from support.methods import golden_config


@pytest.fixture(scope="session")
def solo_host() -> Host:
    """solo-learn's classes; skips where it cannot be imported."""
    try:
        return load("solo")
    except ImportError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["builtin", pytest.param("solo", marks=pytest.mark.solo)])
def host(request) -> Host:
    """Each host in turn."""
    return load("builtin") if request.param == "builtin" else request.getfixturevalue("solo_host")


@pytest.fixture(params=["byol", "mocov2", "mocov2plus", "simclr", "simsiam"])
def method(request) -> str:
    """Each method in turn."""
    return str(request.param)


@pytest.fixture
def class_of() -> Callable[[Host, str], type[Any]]:
    """``class_of(host, method)``: without the mixin; a method of ours over the host's bases."""
    return lambda host, method: {**host.methods, "mocov2": mocov2(host)}[method]


@pytest.fixture
def make_cfg(golden) -> Callable[..., DictConfig]:
    """solo-learn's configuration of the golden step, cut to eight batches of four images."""

    def make(method: str, **changes: Any) -> DictConfig:
        cfg = golden_config(golden("solo_step"), "mocov2plus" if method == "mocov2" else method)
        if method == "mocov2":
            cfg.method = method
            cfg.optimizer.batch_size = 4
            cfg.method_kwargs.update(symmetric=True, bn_splits=2)
        cfg.max_epochs = 2
        cfg.scheduler.warmup_epochs = 1
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value, force_add=True, merge=False)
        return cfg

    return make


@pytest.fixture
def batch() -> list[Any]:
    """Indexes, two views, labels."""
    generator = torch.Generator().manual_seed(1)
    views = list(torch.rand(2, 4, 3, 8, 8, generator=generator))
    return [torch.arange(4), views, torch.arange(4) % 3]
