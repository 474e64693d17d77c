# SPDX-License-Identifier: MIT
"""A mixture passes a network behind all un-mixed views, once, and so BatchNorm remembers it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mixmask_solo.methods import get_methods
from support.methods import HEADS, method_config


@pytest.mark.parametrize("pairing", ["query", "pair"])
@pytest.mark.parametrize("method", [name for name in HEADS if name != "mocov2"])
def test_views_then_mixtures_in_both_networks(
    method: str, pairing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = {"prob": 0.0, "pairing": pairing}  # a box of the reversed batch
    model = get_methods("builtin")[method](method_config(method, {"unmix": block}))
    passes: dict[str, list[Tensor]] = {"backbone": [], "momentum_backbone": []}
    for name, seen in passes.items():
        if hasattr(model, name):
            getattr(model, name).register_forward_hook(lambda _, x, __, s=seen: s.append(x[0]))
    views = list(torch.rand(2, 8, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    monkeypatch.setattr(model, "log_dict", lambda *_, **__: None)
    model.training_step([torch.arange(8), views, torch.arange(8)], 0)
    for name, seen in passes.items():
        if hasattr(model, name):
            mixed = name == "backbone" or pairing == "pair"
            assert len(seen) == 2 + mixed
            assert all(torch.equal(x, view) for x, view in zip(seen, views, strict=False))
            assert not any(torch.equal(x, view) for x in seen[2:] for view in views)
