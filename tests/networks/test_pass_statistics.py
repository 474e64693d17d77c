# SPDX-License-Identifier: MIT
"""Running statistics folded in another order equal those of passes made in that order."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from mixmask_solo.networks import PassStatistics, SplitBatchNorm2d

ORDER = [0, 2, 1, 2]  # of three passes; the third twice


def images(n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return list(torch.randn(n, 8, 3, 4, 4, generator=generator, dtype=torch.float64) * 2 + 1)


def network(*norms: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    convs = [nn.Conv2d(3 if i == 0 else 6, 6, 1) for i in range(len(norms))]
    return nn.Sequential(*(m for pair in zip(convs, norms, strict=True) for m in pair)).double()


NETWORKS = {
    "plain": lambda: network(nn.BatchNorm2d(6), nn.BatchNorm2d(6)),
    "split": lambda: network(SplitBatchNorm2d(6, 2), SplitBatchNorm2d(6, 4)),
    "synchronised": lambda: network(nn.SyncBatchNorm(6)),
    "vectors": lambda: (
        network(nn.BatchNorm2d(6)).append(nn.Flatten()).append(nn.BatchNorm1d(96).double())
    ),
    "cumulative": lambda: network(nn.BatchNorm2d(6, momentum=None)),
    "different": lambda: network(
        nn.BatchNorm2d(6, momentum=0.3), SplitBatchNorm2d(6, 2), nn.BatchNorm2d(6, momentum=None)
    ),
    "frozen": lambda: network(nn.BatchNorm2d(6), nn.BatchNorm2d(6).eval()),
    "stateless": lambda: network(nn.BatchNorm2d(6, track_running_stats=False)),
    "none": lambda: network(nn.Identity()),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_passes_made_in_that_order(name: str) -> None:
    ours, x = NETWORKS[name](), images(3)
    ours(images(4)[3])  # the statistics have a history
    theirs = deepcopy(ours)
    momenta = [getattr(m, "momentum", None) for m in ours]
    for _ in range(3):  # steps
        with PassStatistics(*ours) as passes:
            total = torch.stack([ours(images).square().sum() for images in x]).sum()
        passes.fold(ORDER)
        total.backward()  # what a pass kept for it was not disturbed
        for i in ORDER:
            theirs(x[i])
    assert [getattr(m, "momentum", None) for m in ours] == momenta
    for key, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value, rtol=0, atol=1e-12)


def test_a_failure_leaves_things_as_they_were() -> None:
    model = NETWORKS["vectors"]()
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    with pytest.raises(RuntimeError), PassStatistics(model):
        model(torch.ones(8, 3, 5, 5, dtype=torch.float64))  # the second norm fails
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert (model[1].momentum, model[3].momentum) == (0.1, 0.1)
    assert not model._forward_hooks
