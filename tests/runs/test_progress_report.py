# SPDX-License-Identifier: MIT
"""What a run tells about its speed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from mixmask_solo.runs.progress import Throughput


def test_a_run_resumed_within_an_epoch_is_timed_from_its_own_start() -> None:
    # Lightning does not call on_train_epoch_start for an epoch that was begun before.
    trainer: Any = SimpleNamespace(world_size=2)
    throughput = Throughput()
    throughput.on_train_start(trainer, None)  # type: ignore[arg-type]
    throughput.on_train_batch_end(trainer, None, None, [torch.zeros(8)], 5)  # type: ignore[arg-type]
    assert throughput.images == 16
    assert 0 < throughput.seconds < 60
