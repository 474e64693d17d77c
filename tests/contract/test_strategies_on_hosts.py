# SPDX-License-Identifier: MIT
"""The mixin does the same on either host, and nothing where no block asks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from mixmask_solo.host import Host
from mixmask_solo.methods import get_methods

MIXMASK = {"grid_size": 4, "mask_type": "discrete", "per_sample": True, "partner": "random"}


def step(cls: type[Any], cfg: DictConfig, batch: list[Any], state: Any = None) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = cls(cfg)
    if state is not None:
        model.load_state_dict(state)
    model.log = model.log_dict = lambda *_, **__: None
    model.double()
    indexes, views, labels = batch
    loss = model.training_step([indexes, [v.double() for v in views], labels], 3)
    loss.backward()
    return model, loss


@pytest.mark.filterwarnings("ignore")
def test_without_a_block_it_is_the_hosts_own(
    host: Host, method: str, make_cfg: Callable[..., DictConfig], batch: list[Any]
) -> None:
    a, loss_a = step(host.methods[method], make_cfg(method), batch)
    random_a = torch.get_rng_state()
    b, loss_b = step(get_methods(host.name)[method], make_cfg(method), batch)
    assert torch.equal(loss_a, loss_b)
    assert torch.equal(random_a, torch.get_rng_state())
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        assert p.grad is None or torch.equal(p.grad, q.grad)


@pytest.mark.solo
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pairing", ["query", "pair"])
def test_both_hosts_give_the_same_mixture_loss_and_gradients(
    solo_host: Host,
    method: str,
    pairing: str,
    make_cfg: Callable[..., DictConfig],
    batch: list[Any],
) -> None:
    change = {"method_kwargs.mixmask": {**MIXMASK, "pairing": pairing}}
    a, loss_a = step(get_methods("solo")[method], make_cfg(method, **change), batch)
    plain = get_methods("solo")[method](make_cfg(method)).state_dict()
    torch.manual_seed(0)
    start = get_methods("solo")[method](make_cfg(method, **change)).state_dict()
    assert plain.keys() == start.keys()
    b, loss_b = step(get_methods("builtin")[method], make_cfg(method, **change), batch, start)
    torch.testing.assert_close(loss_a, loss_b, rtol=1e-9, atol=1e-9)
    for (name, p), q in zip(a.named_parameters(), b.parameters(), strict=True):
        if p.grad is not None and q.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-6, atol=1e-8, msg=name)
