# SPDX-License-Identifier: MIT
"""Text in columns."""

from __future__ import annotations

from mixmask_solo.report import columns


def test_words_are_flush_left_and_numbers_right() -> None:
    lines = [("name", "n", "why"), ("a", "10", ""), ("long name", "9", "x")]
    assert columns(lines, right=[1]).splitlines() == [
        "name        n  why",
        "a          10",
        "long name   9  x",
    ]
