# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.data.order.sampler import EpochBatches, Shard
from mixmask_solo.data.sources.base import Source


class Numbers(Source):
    """A source that is asked for its length and order only."""

    def __init__(self, size):
        super().__init__([0] * size, ["a"])

    def load(self, index):
        raise NotImplementedError

    def name(self, index):
        raise NotImplementedError


def batches(size=50, batch_size=4, **kwargs):
    return EpochBatches(Numbers(size), batch_size, seed=3, **kwargs)


@given(
    size=st.integers(1, 200),
    batch_size=st.integers(1, 20),
    world=st.integers(1, 4),
    epoch=st.integers(0, 9),
)
def test_the_processes_together_see_each_image_at_most_once(size, batch_size, world, epoch):
    seen, lengths = [], set()
    for rank in range(world):
        sampler = batches(size, batch_size, rank=rank, world=world)
        sampler.set_epoch(epoch)
        drawn = list(sampler)
        assert len(drawn) == len(sampler)
        assert all(len(batch) == batch_size for batch in drawn)
        lengths.add(len(drawn))
        seen += [pair for batch in drawn for pair in batch]
    assert len(lengths) == 1
    assert {e for e, _ in seen} <= {epoch}
    indexes = [i for _, i in seen]
    assert len(set(indexes)) == len(indexes) == size // (batch_size * world) * batch_size * world


@given(size=st.integers(1, 200), batch_size=st.integers(1, 20), world=st.integers(1, 4))
def test_padded_epochs_show_every_image(size, batch_size, world):
    if size < batch_size * world:
        return  # refused before any batch is made
    seen = []
    for rank in range(world):
        drawn = list(batches(size, batch_size, rank=rank, world=world, last="pad"))
        assert all(len(batch) == batch_size for batch in drawn)
        seen += [i for batch in drawn for _, i in batch]
    assert set(seen) == set(range(size))
    assert len(seen) - size < batch_size * world
    whole = [i for batch in batches(size, batch_size * world, last="pad") for _, i in batch]
    assert whole[:size] == batches(size, batch_size).order(0).tolist()
    assert whole[size:] == whole[: len(whole) - size]


@given(size=st.integers(1, 200), batch_size=st.integers(1, 20), world=st.integers(1, 4))
def test_kept_epochs_end_with_what_is_left(size, batch_size, world):
    """As PyTorch's own loaders of MoCo's probe: only what processes must share evenly is added."""
    if size < batch_size * world:
        return
    drawn = [
        list(batches(size, batch_size, rank=r, world=world, last="keep")) for r in range(world)
    ]
    full, left = divmod(size, batch_size * world)
    sizes = [batch_size] * full + ([-(-left // world)] if left else [])
    assert all([len(b) for b in of_rank] == sizes for of_rank in drawn)
    assert len(batches(size, batch_size, world=world, last="keep")) == len(sizes)
    seen = [i for step in zip(*drawn, strict=True) for batch in step for _, i in batch]
    assert seen[:size] == batches(size, batch_size).order(0).tolist()
    assert seen[size:] == seen[: len(seen) - size]
    assert len(seen) - size < world


def test_two_processes_share_the_batches_of_one():
    whole = list(batches(batch_size=8))
    halves = [list(batches(batch_size=4, rank=r, world=2)) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_epochs_differ_and_repeat():
    sampler = batches()
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = [[i for _, i in batch] for batch in sampler]
    assert second != [[i for _, i in batch] for batch in first]
    assert [[i for _, i in b] for b in EpochBatches(Numbers(50), 4, seed=4)] != [
        [i for _, i in b] for b in first
    ]


@pytest.mark.parametrize("start", [0, 5, 11, 12])
def test_a_later_start_continues_the_same_epoch(start):
    sampler = batches()
    sampler.set_epoch(2)
    whole = list(sampler)
    sampler.set_epoch(2, start)
    assert list(sampler) == whole[start:]
    assert len(sampler) == 12


def test_the_position_is_asked_when_an_iteration_starts_not_at_its_first_batch():
    where = [(1, 2)]
    sampler = batches(position=lambda: where[0])
    begun = iter(sampler)
    where[0] = (5, 0)
    assert {e for batch in begun for e, _ in batch} == {1}
    assert {e for batch in sampler for e, _ in batch} == {5}


def test_shards_leave_nothing_out():
    shards = [Shard(Numbers(11), rank, 3) for rank in range(3)]
    assert [len(s) for s in shards] == [4, 4, 3]
    assert sorted(i for s in shards for i in s) == list(range(11))
    assert list(Shard(Numbers(4))) == [0, 1, 2, 3]
