# SPDX-License-Identifier: MIT
"""Learning rates against formulas written out for each step."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import SGD

from mixmask_solo.host.builtin.optimization import Schedule, ScheduledLR


def rates(schedule: Schedule, steps: int, base: float = 1.0) -> list[float]:
    return [schedule.lr(base, i) for i in range(steps)]


def test_warmup_cosine_written_out():
    actual = rates(Schedule(warmup=3, total=7, start_lr=0.1, min_lr=0.2), 8)
    cosine = [0.2 + 0.8 * (1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)]
    assert actual == pytest.approx([0.1, 0.55, 1.0, *cosine])


def test_cosine_without_warmup_starts_at_the_base_rate():
    assert rates(Schedule(total=4, start_lr=0.3), 5) == pytest.approx(
        [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)]
    )


def test_milestones():
    actual = rates(Schedule(milestones=(2, 4), gamma=0.1), 6)
    assert actual == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warmup_then_milestones():
    """500 iterations from lr / 500 to lr, then a factor of 0.2 (the small-image recipe)."""
    schedule = Schedule(warmup=500, start_lr=1 / 500, milestones=(900,), gamma=0.2)
    assert [schedule.lr(1.0, i) for i in (0, 249, 499, 899, 900)] == pytest.approx(
        [1 / 500, 250 / 500, 1.0, 1.0, 0.2]
    )


@given(
    warmup=st.floats(0, 20), extra=st.floats(1, 50), start=st.floats(0, 1), low=st.floats(0, 0.5)
)
def test_rates_stay_between_their_ends(warmup, extra, start, low):
    schedule = Schedule(warmup=warmup, total=warmup + extra, start_lr=start, min_lr=low)
    actual = rates(schedule, 100)
    assert min(start, low) - 1e-9 <= min(actual)
    assert max(actual) <= 1 + 1e-9
    assert actual[-1] == pytest.approx(low)


def test_scheduler_drives_each_group_from_its_own_rate():
    params = [{"params": [torch.zeros(1)], "lr": lr} for lr in (1.0, 0.5, 0.25)]
    optimizer = SGD(params, lr=1.0)
    scheduler = ScheduledLR(optimizer, Schedule(warmup=2, total=4, start_lr=0.0), static=(2,))
    seen = []
    for _ in range(5):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    assert seen == [
        pytest.approx(row)
        for row in (
            [0, 0, 0],
            [1, 0.5, 0.25],
            [1, 0.5, 0.25],
            [0.5, 0.25, 0.25],
            [0, 0, 0.25],
        )
    ]


def test_resumed_schedule_continues_and_its_state_is_plain(tmp_path):
    def build():
        optimizer = SGD([torch.zeros(1)], lr=1.0)
        return optimizer, ScheduledLR(optimizer, Schedule(warmup=2, total=9))

    _, first = build()
    for _ in range(4):
        first.optimizer.step()
        first.step()
    torch.save(first.state_dict(), tmp_path / "state.pt")
    optimizer, second = build()
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for scheduler in (first, second):
        scheduler.optimizer.step()
        scheduler.step()
    assert optimizer.param_groups[0]["lr"] == first.get_last_lr()[0] == Schedule(2, 9).lr(1.0, 5)
