# SPDX-License-Identifier: MIT
"""Lines that are whole at any width."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.screen import duration, fit, line

TERMS = ["loss 1.234", "online k-NN 91.2%", "std 0.050", "λ 0.500", "1,234 img/s"]


@given(
    width=st.integers(1, 200),
    done=st.integers(0, 50),
    kept=st.lists(st.text("abc", min_size=1, max_size=30), max_size=8),
)
def test_what_does_not_fit_is_left_out_from_the_end(width: int, done: int, kept: list[str]) -> None:
    least = line("epoch 3/20", done, 50, 75.0, [], width)
    text = line("epoch 3/20", done, 50, 75.0, kept, width)
    shown = text.removeprefix(least).split(" · ")[1:]
    assert text.startswith(least)
    assert shown == kept[: len(shown)]
    if len(text) > len(least):
        assert len(text) <= width
    if len(shown) < len(kept):
        assert len(f"{text} · {kept[len(shown)]}") > width


@pytest.mark.parametrize("width", [80, 100, 120])
def test_epoch_bar_time_left_and_loss_have_room(width: int) -> None:
    text = line("epoch 1000/1000", 9999, 10009, 3 * 86400 + 5, TERMS, width)
    assert len(text) <= width
    assert text.startswith("epoch 1000/1000 ━━━━━")
    assert "9,999/10,009 · 3 days, 0:00:05 left · loss 1.234" in text


def test_a_file_that_has_but_ascii_gets_no_other_signs() -> None:
    text = line("epoch 1/2", 5, 10, 12.0, TERMS, 120, signs=False)
    assert text.isascii()
    assert text.startswith("epoch 1/2 ##########---------- 5/10 | 0:12 left | loss 1.234")
    assert "lam 0.500" in text


def test_of_no_known_number_there_is_no_bar() -> None:
    assert line("reading", 1234, None, None, ["0:05"], 80) == "reading 1,234 · 0:05"
    assert fit(["a", "b"], 5) == "a · b"
    assert fit(["a", "b"], 4) == "a"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (12.4, "0:12"), (754, "12:34"), (3723, "1:02:03"), (90061, "1 day, 1:01:01")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
