# SPDX-License-Identifier: MIT
"""Official MoCo with embeddings looked up instead of computed, and on a small network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mixmask_solo.methods import get_methods
from mixmask_solo.strategies import Branch, Strategy
from support.methods import method_config


class Table(nn.Module):
    """A backbone whose image is a row number, ``(N, 1, 1, 1)``, and whose features are that row."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__()
        self.rows = nn.Parameter(rows.clone())

    def forward(self, x: Tensor) -> Tensor:
        return self.rows[x.flatten().long()]


class Given(Strategy):
    """A strategy whose options are branches made beforehand."""

    name = "given"

    def branches(self, views: Sequence[Tensor], step: Any) -> list[Branch]:
        return list(self.options)


@pytest.fixture
def make_cfg() -> Callable[..., DictConfig]:
    """``make_cfg(symmetric=True, momentum={...})``: keys of ``method_kwargs``, or whole blocks."""

    def make(**changes: Any) -> DictConfig:
        names = ("backbone", "data", "knn_eval", "momentum", "optimizer", "sync_batchnorm")
        blocks = {key: changes.pop(key) for key in names if key in changes}
        sizes = {"proj_output_dim": 8, "queue_size": 32}
        return method_config("mocov2", sizes | changes, **blocks)

    return make


@pytest.fixture
def make_model(make_cfg: Any) -> Callable[..., Any]:
    """The real class on the built-in host, silent, from the same random start each time."""

    def make(**changes: Any) -> Any:
        torch.manual_seed(0)
        model = get_methods("builtin")["mocov2"](make_cfg(**changes))
        model.log = model.log_dict = lambda *_, **__: None
        return model

    return make


@pytest.fixture
def make_table_model(make_model: Any) -> Callable[..., Any]:
    """The real class over look-ups of embeddings; its classifier has no labels to learn."""

    def make(online: Tensor, keys: Tensor, queue: Tensor, **changes: Any) -> Any:
        model = make_model(proj_output_dim=queue.shape[0], queue_size=queue.shape[1], **changes)
        model.backbone, model.momentum_backbone = Table(online), Table(keys).requires_grad_(False)
        model.projector = model.momentum_projector = nn.Identity()
        model.classifier = nn.Linear(queue.shape[0], 10)
        model.double()
        model.queue.copy_(queue)
        return model

    return make


@pytest.fixture
def give() -> Callable[[Any, Sequence[Branch]], None]:
    """``give(model, branches)``: these instead of the strategies of the configuration."""

    def give(model: Any, branches: Sequence[Branch]) -> None:
        model.strategies = nn.ModuleDict({"given": Given(branches)} if branches else {})

    return give


@pytest.fixture
def batch() -> list[Any]:
    """Eight images in two views, labels."""
    generator = torch.Generator().manual_seed(3)
    views = list(torch.randn(2, 8, 3, 16, 16, generator=generator))
    return [torch.arange(8), views, torch.arange(8) % 10]
