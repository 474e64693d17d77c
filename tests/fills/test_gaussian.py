# SPDX-License-Identifier: MIT
"""Blur and high-pass filter against SciPy, and what makes them a blur."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from mixmask_solo.fills import blur, high_pass


def images(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=dtype)


@given(
    st.integers(8, 21), st.integers(8, 21), st.floats(0.3, 9.0), st.integers(0, 7), st.booleans()
)
def test_scipy_says_the_same(
    height: int, width: int, sigma: float, radius: int, channels_last: bool
) -> None:
    x = images(2, 3, height, width)
    if channels_last:
        x = x.to(memory_format=torch.channels_last)
    expected = gaussian_filter(
        x.numpy(), (0, 0, sigma, sigma), radius=(0, 0, radius, radius), mode="mirror"
    )
    ours = blur(x, sigma, 2 * radius + 1)
    assert (ours - torch.from_numpy(expected)).abs().max() < 1e-12
    passed = high_pass(x, sigma, 2 * radius + 1)
    assert (passed - (x - torch.from_numpy(expected))).abs().max() < 1e-12
    assert passed.stride() == x.stride()


def test_what_is_even_is_taken_away() -> None:
    assert high_pass(torch.full((1, 3, 12, 12), 7.0), 5.0, 11).abs().max() < 1e-5


def test_the_least_filter_of_the_options_leaves_something() -> None:
    x = images(1, 1, 8, 8)
    assert high_pass(x, 0.3, 3).abs().max() > 1e-3
    assert high_pass(x, 0.1, 3).abs().max() == 0  # hence their bound
    assert high_pass(x, 5.0, 1).abs().max() == 0


def test_gradients_pass() -> None:
    assert torch.autograd.gradcheck(
        lambda x: high_pass(x, 2.0, 5), images(1, 1, 5, 6).requires_grad_()
    )


@pytest.mark.parametrize(("sigma", "kernel"), [(0.0, 3), (-1.0, 3), (1.0, 4), (1.0, -1), (1.0, 17)])
def test_what_is_no_blur_is_refused(sigma: float, kernel: int) -> None:
    with pytest.raises(ValueError, match=r"need sigma > 0 and an odd kernel, below 16 for .* 8x9"):
        blur(images(1, 1, 8, 9), sigma, kernel)
