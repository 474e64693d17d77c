# SPDX-License-Identifier: MIT
"""CutMix's boxes and images against the published code's and its laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.mixtures import cutmix, cutmix_box, partner


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_published_boxes(golden: Any) -> None:
    file = {k: torch.from_numpy(v) for k, v in golden("cutmix_boxes").items() if v.ndim == 1}
    sizes = torch.stack([file["S2"], file["S3"]], 1)
    for size in sizes.unique(dim=0):
        rows = (sizes == size).all(1)
        case = {k: v[rows] for k, v in file.items()}
        center = (case["cx"].long(), case["cy"].long())
        box = cutmix_box(case["lam_in"], (int(size[0]), int(size[1])), center)
        published = zip(("x1", "x2", "y1", "y2"), box[:4], strict=True)
        for key, edge in published:
            assert torch.equal(edge, case[key].long()), key
        assert torch.allclose(box.lam, case["lam_out"], atol=1e-12, rtol=0)


def test_published_image(golden: Any) -> None:
    """Some seed draws the published centre, and then the whole image is the published one."""
    keys = ("img_x", "img_region_mixed", "img_region_lam", "img_region_lam_drawn")
    x, mixed, lam, drawn = (torch.from_numpy(golden("unmix_symmetric_moco")[key]) for key in keys)
    top, left, bottom, right = golden("unmix_symmetric_moco")["img_region_box"].tolist()
    who, inside = partner("reverse", 4), torch.zeros(16, 16, dtype=torch.bool)
    inside[top:bottom, left:right] = True
    assert torch.equal(mixed, torch.where(inside, x[who], x))
    mixtures = (cutmix(x, drawn, who, generator=seeded(seed)) for seed in range(2000))
    found = next(m for m in mixtures if torch.equal(m.images, mixed))
    assert torch.allclose(found.lam.double(), lam.double().expand(4), atol=1e-7)


@given(
    st.sampled_from([1, 2, 3, 8]),
    st.sampled_from([1, 3, 4]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([torch.float32, torch.float64, torch.uint8]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_one_box_of_the_partner_and_lam_counts_what_is_left(
    n: int, channels: int, height: int, width: int, dtype: torch.dtype, each: bool, seed: int
) -> None:
    # Row i holds the value i everywhere, so that the source of every pixel can be read off.
    x = torch.arange(n).to(dtype).view(n, 1, 1, 1).repeat(1, channels, height, width)
    lam = torch.rand(n if each else 1, generator=seeded(seed))
    who = partner("roll", n)
    mixture = cutmix(x, lam, who, generator=seeded(seed))
    assert mixture.images.dtype == dtype
    assert mixture.lam.shape == (n,)
    taken = mixture.images != x
    assert torch.equal(mixture.images[taken], who.to(dtype).view(n, 1, 1, 1).expand_as(x)[taken])
    taken = taken.any(1)
    boxes = taken.any(2)[:, :, None] & taken.any(1)[:, None, :]
    assert torch.equal(taken, boxes)
    if n > 1:
        share = 1 - taken.double().mean((1, 2))
        assert torch.allclose(mixture.lam.double(), share, atol=1e-6)
        assert (mixture.lam >= lam.expand(n) - 1e-6).all()  # clipping only adds to the own share
    if not each:
        assert (mixture.lam == mixture.lam[0]).all()
        assert (boxes == boxes[0]).all()


def test_boxes_per_image_differ_and_repeat_with_the_seed() -> None:
    x, who = torch.rand(16, 3, 32, 24, generator=seeded(0)), partner("reverse", 16)
    lam = torch.full((16,), 0.5)
    one, again = (cutmix(x, lam, who, generator=seeded(5)) for _ in range(2))
    assert torch.equal(one.images, again.images)
    assert len(one.lam.unique()) > 4


def test_mean_share_after_clipping_is_the_one_known() -> None:
    """Uniform shares at 32 pixels: 0.70 own on average, 0.4 % without a box."""
    n = 20_000
    lam = torch.rand(n, generator=seeded(0))
    x = torch.zeros(n, 1, 32, 32, dtype=torch.uint8)
    achieved = cutmix(x, lam, partner("roll", n), generator=seeded(1)).lam
    assert abs(float(achieved.mean()) - 0.70) < 0.01
    assert abs(float((achieved == 1).float().mean()) - 0.004) < 0.002


def test_layout_and_gradients_are_kept() -> None:
    x = torch.rand(3, 4, 16, 12, generator=seeded(0)).to(memory_format=torch.channels_last)
    images = cutmix(x, torch.tensor(0.3), partner("roll", 3), generator=seeded(1)).images
    assert images.is_contiguous(memory_format=torch.channels_last)
    grad = x.clone().requires_grad_()
    mixed = cutmix(grad, torch.tensor(0.3), partner("roll", 3), generator=seeded(1)).images
    mixed.sum().backward()
    assert torch.equal(mixed.detach(), images)
    assert grad.grad is not None
    assert float(grad.grad.sum()) == x.numel()


@pytest.mark.parametrize("lam", [torch.tensor([0.5, 0.5]), torch.tensor(1.5), torch.tensor(1)])
def test_wrong_shares_are_refused(lam: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="lam"):
        cutmix(torch.rand(3, 3, 8, 8), lam, partner("roll", 3))
