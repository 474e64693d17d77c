# SPDX-License-Identifier: MIT
"""A run on DALI's batches that stops and goes on sees those of one that never stopped."""

from __future__ import annotations

import pytest

from mixmask_solo.data import build_pretrain


@pytest.mark.parametrize(("stop", "workers"), [((1, 2), 0), ((1, 0), 0), ((2, 1), 1)])
def test_a_resumed_run_goes_on_with_the_next_batch(photos, dali_cfg, batches_seen, stop, workers):
    path = photos(13)

    def build(workers):
        return lambda: build_pretrain(dali_cfg(path, 3, {"num_workers": workers}))

    whole = batches_seen(build(0))
    assert [(e, b) for e, b, *_ in whole] == [(e, b) for e in range(3) for b in range(4)]
    assert batches_seen(build(workers), stop) == whole
