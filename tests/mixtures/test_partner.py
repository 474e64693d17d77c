# SPDX-License-Identifier: MIT
"""Partners are permutations of the batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.mixtures import partner


@given(st.sampled_from(["reverse", "random", "roll"]), st.integers(1, 50), st.integers(0, 2**31))
def test_partners_are_a_permutation_that_repeats(kind: str, n: int, seed: int) -> None:
    one, again = (partner(kind, n, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert one.dtype == torch.int64
    assert torch.equal(one.sort().values, torch.arange(n))
    assert torch.equal(one, again)


def test_reverse_and_roll_are_what_they_say() -> None:
    assert partner("reverse", 5).tolist() == [4, 3, 2, 1, 0]
    assert partner("roll", 4).tolist() == [1, 2, 3, 0]


def test_random_partners_follow_the_generator_and_leave_one_alone_on_average() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([partner("random", 16, generator=generator) for _ in range(2000)])
    assert len(draws.unique(dim=0)) == 2000
    own = (draws == torch.arange(16)).sum(1).float().mean()
    assert abs(float(own) - 1) < 5 * 2000**-0.5


def test_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="choose reverse, random or roll"):
        partner("backwards", 4)
    with pytest.raises(ValueError, match="at least one"):
        partner("roll", 0)
