# SPDX-License-Identifier: MIT
"""Split BatchNorm against the published numbers and a loop over its groups."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.networks import SplitBatchNorm2d, split_batch_norm


def loop(x: Tensor, norm: SplitBatchNorm2d) -> Tensor:
    """Each group normalised by itself, with the same affine parameters."""
    out = torch.empty_like(x)
    for s in range(norm.splits):
        group = x[s :: norm.splits]
        mean = group.mean((0, 2, 3), keepdim=True)
        var = group.var((0, 2, 3), unbiased=False, keepdim=True)
        unit = (group - mean) / (var + norm.eps).sqrt()
        out[s :: norm.splits] = unit * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)
    return out


def random_norm(channels: int, splits: int) -> SplitBatchNorm2d:
    norm = SplitBatchNorm2d(channels, splits).double()
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.uniform_(-1, 1)
    return norm


def test_golden(golden: Any) -> None:
    g = {
        k.removeprefix("splitbn_"): torch.from_numpy(v)
        for k, v in golden("unmix_symmetric_moco").items()
        if k.startswith("splitbn_") and v.ndim
    }
    facts = golden("unmix_symmetric_moco")
    norm = SplitBatchNorm2d(
        g["input"].shape[1],
        int(facts["splitbn_num_splits"]),
        eps=float(facts["splitbn_eps"]),
        momentum=float(facts["splitbn_momentum"]),
    ).to(g["input"].dtype)
    norm.load_state_dict(
        {
            "weight": g["weight"],
            "bias": g["bias"],
            "running_mean": g["running_mean_before"],
            "running_var": g["running_var_before"],
            "num_batches_tracked": torch.tensor(0),
        }
    )
    torch.testing.assert_close(norm(g["input"]), g["output"], rtol=0, atol=1e-10)
    torch.testing.assert_close(norm.running_mean, g["running_mean_after"], rtol=0, atol=1e-10)
    torch.testing.assert_close(norm.running_var, g["running_var_after"], rtol=0, atol=1e-10)
    assert norm.num_batches_tracked == 0
    torch.testing.assert_close(norm.eval()(g["input"]), g["output_eval"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("n", "splits", "size"), [(8, 4, (5, 3)), (6, 3, (1, 1)), (12, 2, (4, 4))])
def test_output_gradient_and_layout(layout: Any, n: int, splits: int, size: Any) -> None:
    torch.manual_seed(0)
    x = torch.randn(n, 3, *size, dtype=torch.float64).to(memory_format=layout)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    norm = random_norm(3, splits)
    out, expected = norm(a), loop(b, norm)
    assert out.is_contiguous(memory_format=layout)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    weight = torch.randn_like(x)
    parameters = (norm.weight, norm.bias)
    actual = torch.autograd.grad((out * weight).sum(), (a, *parameters))
    for g, h in zip(
        actual, torch.autograd.grad((expected * weight).sum(), (b, *parameters)), strict=True
    ):
        torch.testing.assert_close(g, h, rtol=0, atol=1e-9)


def test_one_split_is_the_ordinary_norm() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    ours, plain = random_norm(3, 1), nn.BatchNorm2d(3).double()
    plain.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x), plain(x))
    torch.testing.assert_close(ours.running_var, plain.running_var)


def test_groups_do_not_see_each_other() -> None:
    norm, x = random_norm(2, 2), torch.randn(6, 2, 3, 3, dtype=torch.float64)
    changed = x.clone()
    changed[1::2] += 5.0
    assert torch.equal(norm(x)[::2], norm(changed)[::2])


def test_an_uneven_batch_is_refused_in_training_only() -> None:
    norm = SplitBatchNorm2d(2, 4)
    x = torch.randn(6, 2, 3, 3)
    with pytest.raises(ValueError, match=r"6 images does not fall into 4 equal groups"):
        norm(x)
    assert norm.eval()(x).shape == x.shape


def test_without_parameters_and_statistics() -> None:
    norm = SplitBatchNorm2d(2, 2, affine=False, track_running_stats=False)
    x = torch.randn(4, 2, 3, 3)
    torch.testing.assert_close(norm(x)[::2], nn.BatchNorm2d(2, affine=False)(x[::2]))


def test_replacing_keeps_parameters_and_keys() -> None:
    network = torchvision.models.resnet18()
    before = network.state_dict()
    parameters = list(network.parameters())
    split_batch_norm(network.eval(), 4)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all(type(m) is SplitBatchNorm2d and m.splits == 4 and not m.training for m in norms)
    assert list(before) == list(network.state_dict())
    assert all(a is b for a, b in zip(parameters, network.parameters(), strict=True))
    network.state_dict()["bn1.running_mean"].fill_(3.0)
    assert norms[0].running_mean.eq(3.0).all()


def test_one_split_replaces_nothing() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3))
    split_batch_norm(network, 1)
    assert type(network[0]) is nn.BatchNorm2d


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)), "it has no BatchNorm2d"),
        (nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm1d(3)), r"1 \(BatchNorm1d\)"),
        (timm.create_model("efficientnet_b0"), r"bn1 \(BatchNormAct2d\)"),
    ],
    ids=["none", "1d", "timm"],
)
def test_what_cannot_be_split_is_refused(network: nn.Module, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        split_batch_norm(network, 2)
