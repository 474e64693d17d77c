# SPDX-License-Identifier: MIT
"""Loaders: the batches that are asked for, without what is left out, from where training stands."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, Dataset, SequentialSampler

from mixmask_solo.data.order.loading import DirectLoader, WorkerLoader, as_it_is
from mixmask_solo.data.order.sampler import EpochBatches
from mixmask_solo.data.sources.arrays import ArraySource


class Squares(Dataset[Any]):
    """Number and square; some images are left out."""

    def __init__(self, size: int, absent: Iterable[int] = ()) -> None:
        self.size, self.absent = size, set(absent)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: Any) -> Any:
        index = key[1] if isinstance(key, tuple) else key
        return None if index in self.absent else (index, torch.tensor([float(index**2)]))


def in_order(size: int, batch: int) -> BatchSampler:
    return BatchSampler(SequentialSampler(range(size)), batch, drop_last=False)


@given(st.integers(1, 12), st.integers(1, 4), st.sets(st.integers(0, 11)))
def test_what_is_left_out_makes_batches_smaller_and_moves_no_other_image(
    size: int, batch: int, absent: set[int]
) -> None:
    loader = WorkerLoader(Squares(size, absent), in_order(size, batch), 0)
    whole = [range(i, min(i + batch, size)) for i in range(0, size, batch)]
    kept = [[i for i in part if i not in absent] for part in whole]
    found = list(loader)
    assert [numbers.tolist() for numbers, _ in found] == [part for part in kept if part]
    assert all(x.tolist() == [[i**2] for i in n.tolist()] for n, x in found)
    assert len(loader) == len(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_whole_batches_of_a_dataset_pass_as_they_are(workers: int) -> None:
    """The dataset is asked with a whole batch of keys, as a decoder of batches is."""
    loader = WorkerLoader(Squares(7, [1, 4]), in_order(7, 1), workers, collate=first)
    assert [index for index, _ in loader] == [0, 2, 3, 5, 6]
    batch = [1, "a"]
    assert as_it_is(batch) is batch


def first(samples: list[Any]) -> Any:
    return samples[0]


def batches(**more: Any) -> EpochBatches:
    images = np.zeros((12, 1, 1, 3), np.uint8)
    return EpochBatches(ArraySource(images, [0] * 12, ["a"], "zeros"), 4, seed=3, **more)


def numbers(loader: Any) -> list[list[int]]:
    return [x.tolist() if isinstance(x, torch.Tensor) else x for x, *_ in loader]


def direct(sampler: EpochBatches, absent: Iterable[int] = ()) -> DirectLoader:
    def make(asked: Iterable[Any]) -> Iterator[Any]:
        for keys in asked:
            found = [i for _, i in keys if i not in set(absent)]
            yield (found,) if found else None

    return DirectLoader(range(12), sampler, make)


def by_workers(sampler: EpochBatches) -> WorkerLoader:
    return WorkerLoader(Squares(12), sampler, 0)


@pytest.mark.parametrize("kind", [direct, by_workers])
def test_an_iteration_begins_where_training_stands_when_its_first_batch_is_asked_for(
    kind: Any,
) -> None:
    place = [0, 0]
    loader = kind(batches(position=lambda: (place[0], place[1])))
    order = loader.batches.order(2).split(4)
    iterator = iter(loader)
    place[:] = [2, 1]  # a trainer restores its counters after it has made the iterator
    assert numbers(iterator) == [part.tolist() for part in order[1:]]
    assert len(loader) == 3
    state = loader.state_dict()  # Lightning asks for it, to see that resuming is safe
    loader.load_state_dict(state)
    assert numbers(loader) == [part.tolist() for part in order[1:]]


def test_a_direct_loader_passes_over_batches_without_images() -> None:
    sampler = batches()
    parts = [part.tolist() for part in sampler.order(0).split(4)]
    assert numbers(direct(sampler, parts[1])) == [parts[0], parts[2]]


def test_loading_draws_nothing_from_the_global_generators() -> None:
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate()
    assert len(list(by_workers(batches()))) == 3
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
