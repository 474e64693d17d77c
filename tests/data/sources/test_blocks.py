# SPDX-License-Identifier: MIT
"""What each process and worker reads of a Parquet set that is larger than its cache."""

from __future__ import annotations

import copy
import pickle
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.order.sampler import EpochBatches, Shard
from mixmask_solo.data.sources import Subset
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.blocks import Blocks
from mixmask_solo.data.sources.parquet import read_parquet

GROUPS, ROWS, BATCH = 300, 20, 25


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """300 row groups of 20 images, of which the cache holds 40."""
    path = tmp_path_factory.mktemp("large") / "train.parquet"
    images = [i.to_bytes(4, "big") * 200 for i in range(GROUPS * ROWS)]
    table = pa.table({"image": images, "label": [i % 10 for i in range(len(images))]})
    pq.write_table(table, path, row_group_size=ROWS)
    request = Request("parquet", "train", str(path), "data.train_path")
    weight = read_parquet(request).weights[0]
    return read_parquet(request, cache_bytes=40 * weight)


def batches(source, world, rank, last="drop"):
    return EpochBatches(source, BATCH, seed=3, rank=rank, world=world, last=last)


def reads(source, batches):
    """How often a process that makes these batches reads each row group."""
    own = pickle.loads(pickle.dumps(source))
    counted = Counter()
    read = own._read
    own._read = lambda group: counted.update([group]) or read(group)
    for batch in batches:
        for _, index in batch:
            assert own.encoded(index)[:4].tobytes() == index.to_bytes(4, "big")
        assert own._kept_bytes <= own.cache_bytes
    return counted


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 4, 8])
def test_ranks_and_workers_read_what_they_need(large, world, workers):
    total = 0
    for rank in range(world):
        own = list(batches(large, world, rank))
        made = [reads(large, own[worker::workers]) for worker in range(workers)]
        whole = sum(made, Counter())
        # a lane ends within a row group, where the next one begins
        assert len(whole) <= GROUPS / world + 5
        sharing = {1: 1, 2: 1, 3: 3, 4: 1, 8: 2}[workers]
        assert sum(whole.values()) <= sharing * (GROUPS / world + 8)
        # again only where a lane's last row group is another lane's first
        assert all(sum(one.values()) <= len(one) + 3 for one in made)
        total += len(whole)
    assert total <= GROUPS + 5 * world


@pytest.mark.parametrize(("held", "sharing"), [(26, {1: 1, 2: 1, 4: 2}), (8, {1: 1, 2: 2, 4: 4})])
def test_row_groups_too_large_for_four_lanes(large, held, sharing):
    """Lanes are 4, 2 or 1, so that 2 and 4 workers share no more of them than they must."""
    source = copy.deepcopy(large)
    source.cache_bytes = held * large.weights[0]
    own = list(batches(source, 1, 0))
    for workers, times in sharing.items():
        made = [reads(source, own[worker::workers]) for worker in range(workers)]
        assert sum(sum(one.values()) for one in made) <= times * (GROUPS + 8)


def test_validation_in_order_reads_neighbours(large):
    shares = [list(Shard(large, rank, 2)) for rank in range(2)]
    assert [i for share in shares for i in share] == list(range(len(large)))
    read = [reads(large, [[(0, i) for i in share]]) for share in shares]
    assert [len(one) for one in read] == [GROUPS // 2] * 2


def test_the_order_depends_on_nothing_but_seed_epoch_and_processes(large):
    sampler = batches(large, 2, 1)
    whole = list(sampler)
    assert list(sampler.since(0, 37)) == whole[37:]
    assert list(batches(pickle.loads(pickle.dumps(large)), 2, 1)) == whole
    sampler.set_epoch(1)
    assert list(sampler) != whole


def test_batches_are_mixed_and_a_part_is_read_alike(large):
    drawn = [i // ROWS for batch in batches(large, 2, 0) for _, i in batch]
    groups = [len(set(drawn[at : at + BATCH])) for at in range(0, len(drawn), BATCH)]
    assert min(groups[:-8]) >= 4
    part = Subset(large, range(0, len(large), 2))
    drawn = [i for rank in range(2) for batch in batches(part, 2, rank) for _, i in batch]
    assert len(set(drawn)) == len(drawn) == len(part)


def test_a_padded_epoch_shows_every_image(large):
    part = Subset(large, range(len(large) - 7))
    drawn = [[i for b in batches(part, 2, rank, last="pad") for _, i in b] for rank in range(2)]
    assert len(drawn[0]) == len(drawn[1])
    assert {i for own in drawn for i in own} == set(range(len(part)))


def test_images_that_fit_keep_their_order(large):
    part = read_parquet(
        Request("parquet", "train", large.files[0], "data.train_path"), cache_bytes=1 << 30
    )
    generator = torch.Generator().manual_seed(mix(3, 2))
    expected = torch.randperm(len(part), generator=generator)
    assert torch.equal(batches(part, 2, 0).order(2), expected)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    batch_size=st.integers(1, 9),
    world=st.integers(1, 4),
    room=st.integers(0, 400),
)
def test_every_image_once_whatever_the_sizes(sizes, batch_size, world, room):
    of = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    blocks = Blocks(of, [10 * size for size in sizes], room)
    order = blocks.order(torch.Generator().manual_seed(0), world, batch_size)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
