# SPDX-License-Identifier: MIT
"""A run that stops and goes on sees the very batches of one that never stopped."""

from __future__ import annotations

import lightning
import pytest

from mixmask_solo.data import build_pretrain

EPOCHS, BATCHES = 3, 6


@pytest.fixture
def digits(views_cfg):
    def build(workers=0):
        block = {"dataset": "digits", "fraction": 0.05, "num_workers": workers}
        return lambda: build_pretrain(views_cfg(block, 12))

    return build


@pytest.fixture(scope="module")
def whole():
    return {}


@pytest.fixture
def uninterrupted(whole, digits, batches_seen):
    if not whole:
        whole["seen"] = batches_seen(digits())
    return whole["seen"]


def test_every_epoch_has_all_its_batches_and_its_own_order(uninterrupted):
    assert [(e, b) for e, b, *_ in uninterrupted] == [
        (e, b) for e in range(EPOCHS) for b in range(BATCHES)
    ]
    orders = [[i for s in uninterrupted if s[0] == e for i in s[2]] for e in range(EPOCHS)]
    assert all(len(set(order)) == len(order) == 72 for order in orders)
    assert orders[0] != orders[1] != orders[2]


def at_batch_end(*values):
    """Where this package never saves: Lightning 2.1 has not counted the batch by then."""
    old = tuple(int(part) for part in lightning.__version__.split(".")[:2]) < (2, 6)
    reason = "older Lightning saves this counter one short; 2.6 is the one checked"
    return pytest.param(*values, marks=pytest.mark.xfail(old, reason=reason, strict=False))


@pytest.mark.parametrize(
    ("hook", "stop"),
    [
        ("on_train_batch_start", (1, 3)),
        ("on_train_batch_start", (0, 1)),
        ("on_train_batch_start", (1, 0)),
        ("on_train_batch_start", (1, BATCHES - 1)),
        at_batch_end("on_train_batch_end", (1, 2)),
        at_batch_end("on_train_batch_end", (0, 0)),
        at_batch_end("on_train_batch_end", (1, BATCHES - 1)),
        ("on_validation_end", (1, 0)),
        ("on_train_epoch_end", (0, 0)),
        ("on_train_epoch_end", (1, 0)),
    ],
)
def test_a_resumed_run_goes_on_with_the_next_batch(hook, stop, uninterrupted, digits, batches_seen):
    assert batches_seen(digits(), stop, hook) == uninterrupted


def test_workers_that_outlive_an_epoch_go_on_as_well(uninterrupted, digits, batches_seen):
    assert batches_seen(digits(workers=1), (1, 3)) == uninterrupted


def test_a_limited_epoch_ends_where_it_is_cut(uninterrupted, digits, batches_seen):
    seen = batches_seen(digits(), (1, 1), limit_train_batches=2)
    assert seen == [s for s in uninterrupted if s[1] < 2]
