# SPDX-License-Identifier: MIT
"""MixMask's images against the published code's, a pixel rule, and its laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import blocked, discrete, upsample
from mixmask_solo.mixtures import mixmask, partner


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("case", ["block4", "block8", "block7", "discrete4"])
def test_published_images_bit_for_bit(
    golden: Any, case: str, full: bool, memory: torch.memory_format
) -> None:
    file = {k: torch.from_numpy(v) for k, v in golden("mixmask_images").items()}
    x = file["x"].to(memory_format=memory)
    mask = file[f"{case}_mask"][None, None] if full else file[f"{case}_grid"][None]
    for who in ("reverse", "perm"):
        if f"{case}_mixed_{who}" in file:
            mixture = mixmask(x, mask.bool(), file[who])
            assert torch.equal(mixture.images, file[f"{case}_mixed_{who}"])
            assert torch.allclose(mixture.lam.double(), file[f"{case}_lam"].expand(8), atol=1e-7)
            assert torch.equal(mixture.partner, file[who])


@st.composite
def batches(draw: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images of any shape, type and layout, masks per sample or per batch, a partner."""
    n, channels = draw(st.sampled_from([1, 2, 3, 7, 8])), draw(st.sampled_from([1, 3, 4]))
    height, width = draw(st.integers(1, 48)), draw(st.sampled_from([1, 5, 12, 16, 32, 48]))
    dtype = draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.uint8]))
    memory = draw(st.sampled_from([torch.contiguous_format, torch.channels_last]))
    generator = seeded(draw(st.integers(0, 2**31)))
    x = torch.randint(256, (n, channels, height, width), generator=generator).to(dtype)
    masks = draw(st.sampled_from([1, n]))
    grid = draw(st.integers(2, 9))
    kind = draw(st.sampled_from([blocked, discrete]))
    mask = kind(masks, grid, generator=generator)
    who = partner(draw(st.sampled_from(["reverse", "random", "roll"])), n, generator=generator)
    return x.contiguous(memory_format=memory), mask, who


@given(batches())
def test_every_pixel_is_a_copy_and_lam_counts_the_own_ones(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    x, mask, who = batch
    before = x.clone()
    mixture = mixmask(x, mask, who)
    own = upsample(mask, (x.shape[2], x.shape[3]))
    assert torch.equal(mixture.images, torch.where(own, x, x[who]))
    assert torch.equal(x, before)
    assert mixture.images.dtype == x.dtype
    for memory in (torch.contiguous_format, torch.channels_last):
        if x.is_contiguous(memory_format=memory):
            assert mixture.images.is_contiguous(memory_format=memory)
    assert mixture.lam.shape == (len(x),)
    assert mixture.lam.dtype == (torch.float64 if x.dtype == torch.float64 else torch.float32)
    share = own.double().mean((1, 2, 3)).expand(len(x))
    assert torch.allclose(mixture.lam.double(), share, atol=1e-6)
    full = mixmask(x, own, who)
    assert torch.equal(full.images, mixture.images)
    assert torch.allclose(full.lam, mixture.lam, atol=1e-6)


@given(batches())
def test_complement_with_the_reverse_partner_reverses_the_batch(
    batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    x, mask, _ = batch
    who = partner("reverse", len(x))
    mask = mask[:1]
    one, other = mixmask(x, mask, who), mixmask(x, ~mask, who)
    assert torch.equal(one.images, other.images.flip(0))
    assert torch.allclose(one.lam, 1 - other.lam, atol=1e-6)


@pytest.mark.parametrize("width", [32, 30])
def test_all_own_and_all_of_the_partner(width: int) -> None:
    x, who = torch.rand(5, 3, 20, width, generator=seeded(0)), partner("roll", 5)
    ones = torch.ones(5, 4, 4, dtype=torch.bool)
    own, other = mixmask(x, ones, who), mixmask(x, ~ones, who)
    assert torch.equal(own.images, x)
    assert torch.equal(own.lam, torch.ones(5))
    assert torch.equal(other.images, x[who])
    assert torch.equal(other.lam, torch.zeros(5))


@pytest.mark.parametrize("width", [32, 30])
def test_images_with_gradients_get_theirs_through_their_pixels(width: int) -> None:
    x = torch.rand(3, 2, 16, width, generator=seeded(0)).requires_grad_()
    mask, who = blocked(3, 4, generator=seeded(1)), partner("roll", 3)
    mixmask(x, mask, who).images.sum().backward()
    own = upsample(mask, (16, width)).float()
    expected = own + (1 - own)[partner("roll", 3).argsort()]
    assert x.grad is not None
    assert torch.equal(x.grad, expected.expand_as(x))


def test_strided_images_are_mixed_as_their_copies() -> None:
    x = torch.rand(4, 3, 16, 64, generator=seeded(0))[:, :, :, ::2]
    mask, who = blocked(4, 4, generator=seeded(1)), partner("reverse", 4)
    expected = mixmask(x.contiguous(), mask, who)
    assert torch.equal(mixmask(x, mask, who).images, expected.images)


BOOL = torch.ones(4, 2, 2, dtype=torch.bool)


@pytest.mark.parametrize(
    ("x", "mask", "who", "message"),
    [
        (torch.rand(4, 3, 8), BOOL, torch.arange(4), "x has shape"),
        (torch.rand(4, 3, 8, 8), BOOL.float(), torch.arange(4), "need bool"),
        (torch.rand(4, 3, 8, 8), BOOL[:2], torch.arange(4), "mask has shape"),
        (torch.rand(4, 3, 8, 8), BOOL[:, None], torch.arange(4), "mask has shape"),
        (torch.rand(4, 3, 8, 8), BOOL[0], torch.arange(4), "mask has shape"),
        (torch.rand(4, 3, 8, 8), BOOL, torch.arange(3), "partner is"),
        (torch.rand(4, 3, 8, 8), BOOL, torch.arange(4).int(), "partner is"),
        (torch.rand(4, 3, 8, 8), BOOL, torch.arange(4) + 1, r"outside 0 \.\. 3"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    x: torch.Tensor, mask: torch.Tensor, who: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        mixmask(x, mask, who)
    assert "\n" not in str(error.value)
