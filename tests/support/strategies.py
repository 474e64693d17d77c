# SPDX-License-Identifier: MIT
"""Strategies that use a hook each, as another package would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mixmask_solo.strategies import Branch, Step, Strategy, Views, register, registry


@dataclass
class DimmerOptions:
    lr: float = 0.1


class Dimmer(Strategy):
    """The online network sees darker images, by a share that is learnt."""

    name = "dimmer"
    options_type = DimmerOptions

    def __init__(self, options: DimmerOptions) -> None:
        super().__init__(options)
        self.share = nn.Parameter(torch.rand(1))

    def views(self, views: Views, step: Step) -> Views:
        return views._replace(online=[x * self.share for x in views.online])

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"name": "dimmer", "params": [self.share], "lr": self.options.lr}]


@dataclass
class FilterOptions:
    factor: float = 1.0


class Centred(Strategy):
    """Takes a part of each channel's mean off, everywhere; keeps what it was given in a step."""

    name = "centred"
    options_type = FilterOptions

    @classmethod
    def input_filter(cls, options: FilterOptions) -> Any:
        return Centre(options.factor)

    def views(self, views: Views, step: Step) -> Views:
        self.seen = views
        return views

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        return [Branch(self.name, views[1], view=1)]


class Centre:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        return x - self.factor * x.mean((2, 3), keepdim=True)


@dataclass
class HarderOptions:
    alpha: float = 2.0
    queries: int = 2


class Harder(Strategy):
    """As saliency will: masked queries, clean keys, a hard negative of the key for each query."""

    name = "harder"
    options_type = HarderOptions
    hard_negatives = True

    def views(self, views: Views, step: Step) -> Views:
        return views._replace(online=[mask(x) for x in views.online])

    def branches(self, views: Sequence[Tensor], step: Step) -> list[Branch]:
        o = self.options
        negatives = [hard(views[1 - v]) for v in range(o.queries)]
        return [
            Branch(self.name, None, view=v, negatives=x, alpha=o.alpha)
            for v, x in enumerate(negatives)
        ]


def mask(x: Tensor) -> Tensor:
    return torch.cat([x[..., :-2], torch.zeros_like(x[..., -2:])], dim=-1)


def hard(x: Tensor) -> Tensor:
    return x.flip(-1) * 0.5


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, for one test."""
    monkeypatch.setattr(registry, "_STRATEGIES", dict(registry._STRATEGIES))
    for kind in (Dimmer, Centred, Harder):
        register(kind)
