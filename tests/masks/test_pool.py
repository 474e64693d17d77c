# SPDX-License-Identifier: MIT
"""Pools hand out the same masks whatever was asked before."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.masks import MaskPool, blocked


def pool(batches: int = 4, per_batch: int = 3, log: list[int] | None = None) -> MaskPool:
    def draw(n: int, generator: torch.Generator) -> torch.Tensor:
        if log is not None:
            log.append(n)
        return blocked(n, 8, generator=generator)

    def generator_for(epoch: int, block: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * epoch + block)

    return MaskPool(draw, per_batch, batches, generator_for)


ADDRESSES = st.tuples(st.integers(0, 3), st.integers(0, 15))


@given(st.lists(ADDRESSES, min_size=1, max_size=12), ADDRESSES)
def test_masks_depend_on_their_address_alone(
    history: list[tuple[int, int]], address: tuple[int, int]
) -> None:
    used = pool()
    for other in history:
        used.take(*other)
    assert torch.equal(used.take(*address), pool().take(*address))


def test_batches_differ_and_one_draw_serves_a_block() -> None:
    log: list[int] = []
    masks_of = pool(log=log).take
    masks = torch.cat([masks_of(epoch, batch) for epoch in (0, 1) for batch in range(8)])
    assert log == [12] * 4  # two blocks an epoch, each 4 batches of 3
    assert len(masks.flatten(1).unique(dim=0)) == len(masks) == 48


def test_a_block_is_what_one_draw_gives() -> None:
    parts = torch.cat([pool().take(2, batch) for batch in range(4, 8)])
    whole = blocked(12, 8, generator=torch.Generator().manual_seed(2001))
    assert torch.equal(parts, whole)
