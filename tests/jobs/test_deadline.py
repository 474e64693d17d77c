# SPDX-License-Identifier: MIT
"""A run stops so early that the longest thing it does between two steps still fits, twice."""

from __future__ import annotations

import time

import pytest

from mixmask_solo.jobs.deadline import Deadline
from mixmask_solo.jobs.variables import DEADLINE


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands until it is moved."""
    now = [1_800_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0] - 1_000_000.0)
    monkeypatch.setenv(DEADLINE, f"{now[0] + 1000:.0f}")
    return now


def test_it_stops_a_margin_before_the_end(clock: list[float]) -> None:
    deadline = Deadline()
    for second in range(989):
        clock[0] = 1_800_000_000.0 + second
        assert not deadline.due() or second >= 988  # steps of a second: 10 + 2 * 1 before
    assert deadline.lead == 12.0


def test_the_longest_gap_is_kept_free_twice(clock: list[float]) -> None:
    deadline = Deadline()
    moments = [0.0, 300.0, 301.0, 361.0, 362.0]  # compilers run in the first, validation at 301
    due = []
    for second in moments:
        clock[0] = 1_800_000_000.0 + second
        due.append(deadline.due())
    assert due == [False] * 5
    assert deadline.lead == 10.0 + 2 * 60.0
    clock[0] = 1_800_000_000.0 + 869.0
    assert deadline.due()  # 507 s without a step: another such time would not fit


@pytest.mark.parametrize("told", ["N/A", "Unknown", "", None])
def test_a_job_without_an_end_never_stops(
    told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if told is None:
        monkeypatch.delenv(DEADLINE, raising=False)
    else:
        monkeypatch.setenv(DEADLINE, told)
    deadline = Deadline()
    assert not deadline.due()
    assert not deadline.due()
