# SPDX-License-Identifier: MIT
"""The moving average against a plain loop, and τ against solo-learn's values."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mixmask_solo.host.builtin.momentum import (
    MomentumUpdater,
    cosine_tau,
    initialize_momentum_params,
)


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)).double()


def test_pairs_move_as_in_a_loop_and_in_place():
    online, momentum = [net(0), net(1)], [net(2), net(3)]
    expected = [
        [0.9 * m + 0.1 * o for o, m in zip(a.parameters(), b.parameters(), strict=True)]
        for a, b in zip(online, momentum, strict=True)
    ]
    storage = [p.data_ptr() for m in momentum for p in m.parameters()]
    updater = MomentumUpdater(0.9, 1.0)
    updater.update_pairs(list(zip(online, momentum, strict=True)))
    for m, values in zip(momentum, expected, strict=True):
        torch.testing.assert_close(
            [p.detach() for p in m.parameters()], [v.detach() for v in values]
        )
    assert storage == [p.data_ptr() for m in momentum for p in m.parameters()]


def test_single_pair_and_unmoved_buffers():
    online, momentum = net(0), net(1)
    online[1].running_mean.fill_(7.0)
    expected = 0.5 * (online[0].weight + momentum[0].weight).detach()
    MomentumUpdater(0.5, 1.0).update(online, momentum)
    torch.testing.assert_close(momentum[0].weight.detach(), expected)
    assert momentum[1].running_mean.eq(0).all()


def test_parameters_replaced_after_the_first_update_are_found_once_forgotten():
    online, momentum = net(0), net(1)
    updater = MomentumUpdater(0.0, 1.0)
    updater.update_pairs([(online, momentum)])
    momentum[0].weight = nn.Parameter(torch.zeros_like(momentum[0].weight))
    updater.forget()
    updater.update_pairs([(online, momentum)])
    torch.testing.assert_close(momentum[0].weight.detach(), online[0].weight.detach())


def test_a_copy_moves_its_own_parameters():
    pair = (net(0), net(1))
    updater = MomentumUpdater(0.0, 1.0)
    updater.update_pairs([pair])
    (online, momentum), other = copy.deepcopy((pair, updater))
    assert other._tensors is None
    with torch.no_grad():
        online[0].weight.fill_(3.0)
    before = pair[1][0].weight.detach().clone()
    other.update_pairs([(online, momentum)])
    assert momentum[0].weight.eq(3.0).all()
    assert torch.equal(pair[1][0].weight, before)


def test_tau_parity(golden):
    g = golden("solo_step")
    updater = MomentumUpdater(float(g["tau_base"]), float(g["tau_final"]))
    for step, expected in zip(g["tau_steps"], g["tau_values"], strict=True):
        updater.update_tau(int(step), int(g["tau_max_steps"]))
        torch.testing.assert_close(updater.cur_tau, float(expected), rtol=0, atol=1e-12)


def test_tau_ends_at_its_final_value():
    assert cosine_tau(0.99, 1.0, 0, 10) == pytest.approx(0.99)
    assert cosine_tau(0.99, 1.0, 10, 10) == 1.0


def test_momentum_network_starts_equal_and_without_gradients():
    online, momentum = net(0), net(1)
    initialize_momentum_params(online, momentum)
    for o, m in zip(online.parameters(), momentum.parameters(), strict=True):
        assert torch.equal(o, m)
        assert o.requires_grad
        assert not m.requires_grad


@pytest.mark.parametrize("taus", [(0.9, 0.5), (-0.1, 1.0), (0.5, 1.1)])
def test_impossible_taus(taus):
    with pytest.raises(ValueError, match="base_tau"):
        MomentumUpdater(*taus)
