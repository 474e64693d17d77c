# SPDX-License-Identifier: MIT
"""LARS against solo-learn's rule written out, groups, and fused kernels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mixmask_solo.host.builtin.optimization import build_optimizer, exclude_bias_and_norm


def parameters(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (4,), (2, 4, 3, 3), (2,)]
    return [nn.Parameter(torch.randn(s, generator=generator, dtype=dtype)) for s in shapes]


def gradients(step: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(10 + step)
    return [torch.randn(p.shape, generator=generator, dtype=dtype) for p in parameters()]


def lars_reference(p, g, buf, *, lr, wd, eta, momentum, clip, exclude, nesterov):
    """One step of solo-learn's LARS for one tensor; returns (new value, new buffer)."""
    d = g.clone()
    if p.ndim != 1 or not exclude:
        rate = eta * p.norm() / (g.norm() + p.norm() * wd + 1e-8)
        if clip:
            rate = min(rate / lr, 1)
        d = (g + wd * p) * rate
    buf = d.clone() if buf is None else momentum * buf + d
    return p - lr * (d + momentum * buf if nesterov else buf), buf


@pytest.mark.parametrize("wd", [0.0, 0.1])
@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_takes_solo_learns_steps(wd, exclude, clip, nesterov):
    params = parameters()
    options = {"eta": 0.02, "momentum": 0.9, "nesterov": nesterov}
    optimizer = build_optimizer(
        "lars",
        [{"name": "all", "params": params}],
        lr=0.3,
        weight_decay=wd,
        allow_fused=True,
        clip_lr=clip,
        exclude_bias_n_norm=exclude,
        **options,
    )
    values = [p.detach().clone() for p in params]
    buffers: list[torch.Tensor | None] = [None] * len(params)
    for step in range(3):
        for i, (p, g) in enumerate(zip(params, gradients(step), strict=True)):
            p.grad = g.clone()
            values[i], buffers[i] = lars_reference(
                values[i], g, buffers[i], lr=0.3, wd=wd, clip=clip, exclude=exclude, **options
            )
        optimizer.step()
    torch.testing.assert_close([p.detach() for p in params], values)


def test_weight_decay_exclusion_splits_groups():
    groups = [
        {"name": "backbone", "params": parameters(), "static_lr": True},
        {"name": "bias", "params": [nn.Parameter(torch.zeros(3))], "lr": 2.0},
    ]
    split = exclude_bias_and_norm(groups)
    assert [g["name"] for g in split] == ["backbone", "backbone_no_decay", "bias_no_decay"]
    assert [[p.ndim for p in g["params"]] for g in split] == [[2, 4], [1, 1], [1]]
    assert [g.get("weight_decay") for g in split] == [None, 0, 0]
    assert [g.get("static_lr") for g in split] == [True, True, None]
    assert split[2]["lr"] == 2.0


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_fused_kernels_take_the_same_steps(name, memory_format):
    results = []
    for fused in (True, False):
        params = parameters()
        params[2].data = params[2].data.to(memory_format=memory_format)
        kwargs = {"momentum": 0.9} if name == "sgd" else {}
        optimizer = build_optimizer(
            name, [{"params": params}], lr=0.1, weight_decay=0.01, allow_fused=fused, **kwargs
        )
        for step in range(3):
            for p, g in zip(params, gradients(step), strict=True):
                p.grad = g.clone(memory_format=torch.preserve_format)
                if p.ndim == 4:
                    p.grad = p.grad.to(memory_format=memory_format)
            optimizer.step()
        results.append([p.detach() for p in params])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("kwargs", [{"foreach": True}, {"fused": False}])
def test_the_users_choice_of_kernel_wins(kwargs):
    optimizer = build_optimizer(
        "sgd", [{"params": parameters()}], lr=0.1, weight_decay=0, allow_fused=True, **kwargs
    )
    assert not optimizer.defaults["fused"]
    assert bool(optimizer.defaults["foreach"]) == kwargs.get("foreach", False)


def test_half_precision_parameters_are_not_fused():
    params = [nn.Parameter(p.detach().bfloat16()) for p in parameters()]
    optimizer = build_optimizer(
        "sgd", [{"params": params}], lr=0.1, weight_decay=0, allow_fused=True
    )
    assert not optimizer.defaults["fused"]


def test_unknown_name():
    with pytest.raises(ValueError, match=r"'sdg'.*sgd, lars, adam, adamw"):
        build_optimizer("sdg", [{"params": parameters()}], lr=0.1, weight_decay=0, allow_fused=True)
