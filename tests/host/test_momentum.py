# SPDX-License-Identifier: MIT
"""The moving average against a plain loop, and τ against solo-learn's values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixmask_solo.host.builtin.momentum import MomentumUpdater, momentum_copy


def net(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2)).double()


def test_parameters_move_as_in_a_loop_and_in_place():
    online, momentum = net(0), net(1)
    pairs = zip(online.parameters(), momentum.parameters(), strict=True)
    expected = [(0.9 * m + 0.1 * o).detach() for o, m in pairs]
    storage = [p.data_ptr() for p in momentum.parameters()]
    MomentumUpdater(0.9, 1.0).update(online, momentum)
    torch.testing.assert_close([p.detach() for p in momentum.parameters()], expected)
    assert storage == [p.data_ptr() for p in momentum.parameters()]


def test_buffers_do_not_move():
    online, momentum = net(0), net(1)
    online[1].running_mean.fill_(7.0)
    MomentumUpdater(0.5, 1.0).update(online, momentum)
    assert momentum[1].running_mean.eq(0).all()


def test_tau_parity(golden):
    g = golden("solo_step")
    updater = MomentumUpdater(float(g["tau_base"]), float(g["tau_final"]))
    for step, expected in zip(g["tau_steps"], g["tau_values"], strict=True):
        updater.update_tau(int(step), int(g["tau_max_steps"]))
        torch.testing.assert_close(updater.cur_tau, float(expected), rtol=0, atol=1e-12)


def test_tau_ends_at_its_final_value():
    updater = MomentumUpdater(0.99, 1.0)
    updater.update_tau(0, 10)
    assert updater.cur_tau == pytest.approx(0.99)
    updater.update_tau(10, 10)
    assert updater.cur_tau == 1.0


def test_momentum_network_starts_equal_and_without_gradients():
    online = net(0)
    momentum = momentum_copy(online)
    for o, m in zip(online.parameters(), momentum.parameters(), strict=True):
        assert torch.equal(o, m)
        assert o.requires_grad
        assert not m.requires_grad


@pytest.mark.parametrize("taus", [(0.9, 0.5), (-0.1, 1.0), (0.5, 1.1)])
def test_impossible_taus(taus):
    with pytest.raises(ValueError, match="base_tau"):
        MomentumUpdater(*taus)
