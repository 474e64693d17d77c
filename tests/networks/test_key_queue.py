# SPDX-License-Identifier: MIT
"""The queue against a plain list of keys, oldest first out."""

from __future__ import annotations

from collections import deque
from copy import deepcopy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mixmask_solo.networks.key_queue import KeyQueue


def make(*shape: int) -> KeyQueue:
    torch.manual_seed(0)
    queue = KeyQueue()
    queue.add_queue(*shape)
    return queue


def batch(n: int, dim: int, number: int) -> Tensor:
    """Keys that no other batch has."""
    return torch.arange(n * dim).reshape(n, dim) + 1000.0 * number


@given(
    st.integers(1, 3), st.sampled_from([1, 2, 3, 4, 6, 12]), st.lists(st.booleans(), max_size=20)
)
def test_it_holds_the_last_keys_whatever_is_loaded_in_between(
    dim: int, n: int, loads: list[bool]
) -> None:
    queue = make(dim, 12)
    expected = deque(queue.queue.T.tolist(), maxlen=12)
    for number, load in enumerate(loads):
        if load:  # a run that goes on has another object, which was in use before
            other = make(dim, 12)
            other._dequeue_and_enqueue(batch(4, dim, 99))
            other.load_state_dict(deepcopy(queue.state_dict()))
            queue = other
        queue._dequeue_and_enqueue(batch(n, dim, number))
        expected.extend(batch(n, dim, number).tolist())
        oldest = int(queue.queue_ptr)
        assert oldest == n * (number + 1) % 12
        assert queue.queue.roll(-oldest, dims=1).T.tolist() == list(expected)


def test_each_view_has_a_ring_of_its_own() -> None:
    queue = make(2, 5, 8)
    assert queue.queue.shape == (2, 5, 8)
    torch.testing.assert_close(queue.queue.norm(dim=1), torch.ones(2, 8))
    keys = torch.randn(2, 4, 5)
    queue._dequeue_and_enqueue(keys)
    for view in (0, 1):
        for i in range(4):
            assert torch.equal(queue.queue[view, :, i], keys[view, i])


def test_keys_are_stored_as_numbers_and_not_as_a_graph() -> None:
    queue = make(3, 4)
    queue._dequeue_and_enqueue(2 * torch.ones(2, 3, requires_grad=True))
    assert not queue.queue.requires_grad
    assert list(queue.state_dict()) == ["queue", "queue_ptr"]


@pytest.mark.parametrize("n", [5, 8, 13])
def test_a_ring_that_does_not_close_is_refused_and_stays_as_it_was(n: int) -> None:
    queue = make(3, 12)
    before = queue.queue.clone()
    with pytest.raises(ValueError, match=rf"^method_kwargs\.queue_size is 12: .* of {n} images"):
        queue._dequeue_and_enqueue(torch.zeros(n, 3))
    assert torch.equal(queue.queue, before)
    assert int(queue.queue_ptr) == 0
