# SPDX-License-Identifier: MIT
"""How often a step forwards what, and what BatchNorm's running statistics have seen after it."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
import torch


@pytest.mark.parametrize(
    ("kwargs", "online", "momentum"),
    [
        ({}, 1, 1),
        ({"symmetric": True}, 2, 2),
        ({"mixmask": {"grid_size": 2}}, 2, 1),
        ({"mixmask": {"grid_size": 2}, "unmix": {}}, 3, 1),
        ({"symmetric": True, "mixmask": {"grid_size": 2}}, 3, 2),
        ({"symmetric": True, "mixmask": {"grid_size": 2, "pairing": "pair"}}, 3, 3),
    ],
)
def test_no_pass_is_wasted(
    make_model: Any, batch: Any, kwargs: dict[str, Any], online: int, momentum: int
) -> None:
    model, passes = make_model(**kwargs), Counter[str]()
    for name in ("backbone", "momentum_backbone"):
        getattr(model, name).register_forward_hook(lambda *_, n=name: passes.update([n]))
    model.training_step(batch, 0).backward()
    assert passes == {"backbone": online, "momentum_backbone": momentum}
    with torch.no_grad():
        model.validation_step((batch[1][0], batch[2]), 0)
    assert passes == {"backbone": online + 1, "momentum_backbone": momentum}


@pytest.mark.parametrize(
    ("kwargs", "order"),
    [
        ({}, [0, 1]),
        ({"mixmask": {"grid_size": 2}}, [0, 2, 1, 2]),
        ({"mixmask": {"grid_size": 2}, "unmix": {"targets": "other"}}, None),
        ({"mixmask": {"grid_size": 2, "targets": "other"}}, [0, 2, 1]),
        ({"mixmask": {"grid_size": 2, "pairing": "pair"}}, [0, 2, 1]),
        ({"mixmask": {"grid_size": 2, "pairing": "pair", "targets": "both"}}, [0, 2, 1, 2]),
    ],
)
def test_running_statistics_see_a_mixture_in_each_direction_that_contrasts_it(
    make_model: Any, batch: Any, kwargs: dict[str, Any], order: list[int] | None
) -> None:
    model = make_model(symmetric=True, **kwargs)
    if order is None:
        mask, mix = (2 + list(model.strategies).index(n) for n in ("mixmask", "unmix"))
        order = [0, *sorted([mask, mix]), 1, mask]
    twin, passes = deepcopy(model.backbone), []
    model.backbone.register_forward_hook(lambda _, x, __: passes.append(x[0]))
    model.training_step(batch, 0)
    for i in order:
        twin(passes[i])
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.backbone.state_dict()[name], value)
