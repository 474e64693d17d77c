# SPDX-License-Identifier: MIT
"""Kept pixels stay, hidden ones show what was asked for."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.fills import KINDS, blur, fill
from mixmask_solo.masks import upsample
from mixmask_solo.mixtures import mixmask

PARTNER = torch.tensor([2, 0, 1])


def images(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(3, 2, 9, 8, generator=torch.Generator().manual_seed(1), dtype=dtype)


def masks(shape: tuple[int, ...], seed: int = 2) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


def filled(x: torch.Tensor, mask: torch.Tensor, kind: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return fill(x, mask, kind, std=0.4, sigma=2.0, kernel=5, partner=PARTNER, generator=generator)


def expected(x: torch.Tensor, kind: str) -> torch.Tensor:
    """The filling of every pixel."""
    if kind == "noise":
        draw = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=x.dtype)
        return 0.4 * draw
    fillings = {
        "zero": torch.zeros_like(x),
        "mean": x.flatten(2).mean(2)[..., None, None].expand_as(x),
        "blur": blur(x, 2.0, 5),
        "partner": x[[2, 0, 1]],
    }
    return fillings[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("channels", [0, 1, 2])
@given(grid=st.integers(2, 9), seed=st.integers(0, 99), channels_last=st.booleans())
def test_each_pixel(
    kind: str, n: int, channels: int, grid: int, seed: int, channels_last: bool
) -> None:
    """0 channels: a mask without that axis."""
    x = images()
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    mask = masks((n, *[channels] * bool(channels), grid, grid), seed)
    ours = filled(x, mask, kind)
    own = upsample(mask, (9, 8)).expand_as(x)
    assert torch.equal(ours[own], x[own])
    torch.testing.assert_close(ours[~own], expected(x, kind)[~own], rtol=0, atol=1e-6)
    assert ours.dtype == x.dtype
    assert ours.stride() == x.stride()


def test_a_partner_fills_as_mixmask_does() -> None:
    x, mask = images(), masks((1, 4, 4))
    assert torch.equal(fill(x, mask, "partner", partner=PARTNER), mixmask(x, mask, PARTNER).images)


def test_noise_is_of_its_deviation_and_nobodys_twice() -> None:
    x = torch.zeros(8, 3, 64, 64)
    hidden = torch.zeros(1, 2, 2)
    noise = fill(x, hidden, "noise", std=0.18, generator=torch.Generator().manual_seed(0))
    assert abs(noise.mean()) < 5 * 0.18 / noise.numel() ** 0.5
    assert abs(noise.std() / 0.18 - 1) < 5 / (2 * noise.numel()) ** 0.5
    rows = noise.flatten(2).flatten(0, 1)
    apart = (rows @ rows.T / 4096 / 0.18**2 - torch.eye(24)).abs()
    assert apart.fill_diagonal_(0).max() < 5 / 64


@pytest.mark.parametrize("kind", KINDS)
def test_a_soft_mask_blends_and_learns(kind: str) -> None:
    x = images(torch.float64)
    soft = torch.rand(3, 1, 9, 8, dtype=torch.float64, requires_grad=True)
    ours = filled(x, soft, kind)
    torch.testing.assert_close(ours, soft * x + (1 - soft) * expected(x, kind))
    ours.square().sum().backward()
    slope = (2 * ours * (x - expected(x, kind))).sum(1, keepdim=True)
    torch.testing.assert_close(soft.grad, slope.detach())


@pytest.mark.parametrize(
    ("mask", "kind", "told"),
    [
        (torch.ones(2, 4, 4).bool(), "zero", "with n = 3, or 1"),
        (torch.ones(3, 3, 4, 4).bool(), "zero", "c = 2, or 1"),
        (torch.ones(4, 4).bool(), "zero", r"need cells \(n, g, g\)"),
        (torch.ones(3, 4, 4).bool(), "black", "choose zero, noise, mean, blur, partner"),
    ],
)
def test_wrong_input(mask: torch.Tensor, kind: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fill(images(), mask, kind)


def test_a_partner_has_to_be_given() -> None:
    with pytest.raises(ValueError, match="give the partner"):
        fill(images(), masks((1, 4, 4)), "partner")


def test_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 .* need float images"):
        fill(torch.zeros(3, 2, 9, 8, dtype=torch.uint8), masks((1, 4, 4)), "zero")
