# SPDX-License-Identifier: MIT
"""Mixup against the published images, and partners."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.mixtures import mixup, partner


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_published_image(golden: Any) -> None:
    file = {
        k: torch.from_numpy(v)
        for k, v in golden("unmix_symmetric_moco").items()
        if k.startswith("img_global")
    }
    x = torch.from_numpy(golden("unmix_symmetric_moco")["img_x"])
    mixture = mixup(x, file["img_global_lam"], partner("reverse", 4))
    assert torch.allclose(mixture.images, file["img_global_mixed"], atol=1e-6)
    assert torch.allclose(mixture.images.flip(0), file["img_global_mixed_flip"], atol=1e-6)
    assert torch.allclose(mixture.lam.double(), file["img_global_lam"].double(), atol=1e-7)


@given(
    st.sampled_from([1, 2, 3, 8]),
    st.sampled_from([1, 3, 4]),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
    st.booleans(),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
    st.integers(0, 2**31),
)
def test_the_formula_per_image_and_per_batch(
    n: int, channels: int, dtype: torch.dtype, each: bool, memory: Any, seed: int
) -> None:
    generator = seeded(seed)
    x = torch.rand(n, channels, 7, 12, generator=generator).to(dtype)
    x = x.contiguous(memory_format=memory)
    lam = torch.rand(n if each else (), generator=generator)
    who = partner("random", n, generator=generator)
    mixture = mixup(x, lam, who)
    weight = mixture.lam.double()[:, None, None, None]
    exact = weight * x.double() + (1 - weight) * x[who].double()
    rounding = 0.01 if dtype == torch.bfloat16 else 1e-6
    assert torch.allclose(mixture.images.double(), exact, atol=rounding)
    assert torch.allclose(mixture.lam.double(), lam.double().expand(n), atol=rounding)
    assert mixture.images.dtype == dtype
    assert mixture.images.is_contiguous(memory_format=memory)


def test_shares_of_one_and_zero_are_exact() -> None:
    x, who = torch.rand(3, 3, 8, 8, generator=seeded(0)), partner("roll", 3)
    assert torch.equal(mixup(x, torch.ones(3), who).images, x)
    assert torch.equal(mixup(x, torch.zeros(3), who).images, x[who])


def test_gradients_reach_both_images() -> None:
    x = torch.rand(2, 1, 4, 4, generator=seeded(0)).requires_grad_()
    lam = torch.tensor([0.75, 0.75])
    mixup(x, lam, partner("reverse", 2)).images[0].sum().backward()
    assert x.grad is not None
    assert torch.allclose(x.grad[0], torch.full((1, 4, 4), 0.75))
    assert torch.allclose(x.grad[1], torch.full((1, 4, 4), 0.25))


def test_integer_images_cannot_be_blended() -> None:
    with pytest.raises(ValueError, match="convert the images to float"):
        mixup(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor(0.5), partner("roll", 2))
    with pytest.raises(ValueError, match="outside"):
        mixup(torch.rand(2, 3, 8, 8), torch.tensor(-0.5), partner("roll", 2))
