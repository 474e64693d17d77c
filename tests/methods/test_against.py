# SPDX-License-Identifier: MIT
"""Branches that are compared with each other, and images that several of them share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from mixmask_solo.methods import get_methods
from mixmask_solo.strategies import Branch, Strategy, register, registry
from support.methods import method_config


@dataclass
class Options:
    pass


class Two(Strategy):
    """A masked copy of each view; only their loss against each other counts."""

    name, options_type, host_weight = "two", Options, 0.0

    def branches(self, views: Any, step: Any) -> list[Branch]:
        one, two = (torch.cat([x[..., :-4], 0 * x[..., -4:]], -1) for x in views)
        first = Branch("two", one, view=0, weight=0.0, targets="other")
        second = Branch("two", two, view=1, weight=0.0, targets="other")
        pair = Branch("two", two, view=1, against=first, pairing="pair")
        return [first, second, pair]


@pytest.mark.parametrize("method", ["simclr", "byol", "simsiam", "mocov2plus"])
def test_two_branches_are_compared_as_if_they_were_the_views(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_STRATEGIES", dict(registry._STRATEGIES))
    register(Two)
    models: list[Any] = []
    for kwargs in ({"two": {}}, {}):
        torch.manual_seed(0)
        models.append(get_methods("builtin")[method](method_config(method, kwargs)).double())
        models[-1].log = models[-1].log_dict = lambda *_, **__: None
    mine, plain = models
    plain.load_state_dict(mine.state_dict())
    views = [torch.rand(4, 3, 32, 32).double() for _ in range(2)]
    rest = [torch.arange(4), torch.arange(4) % 3]
    passes: list[Tensor] = []
    mine.backbone.register_forward_hook(lambda *a: passes.append(a[2]))
    loss = mine.training_step([rest[0], views, rest[1]], 0)
    assert len(passes) == 4  # two views, two copies
    one, two = (b.images for b in Two(Options()).branches(views, None)[:2])
    expected = plain.training_step([rest[0], [one, two], rest[1]], 0)
    classifier = [torch.nn.functional.cross_entropy(m(x)["logits"], rest[1])
                  for m, xs in ((mine, views), (plain, (one, two))) for x in xs]  # fmt: skip
    mean = [torch.stack(classifier[:2]).mean(), torch.stack(classifier[2:]).mean()]
    torch.testing.assert_close(loss - mean[0], expected - mean[1])
