# SPDX-License-Identifier: MIT
"""The one line, and the names in it."""

from __future__ import annotations

import pytest

from mixmask_solo.config import ConfigError, did_you_mean, listing


def test_a_message_is_one_line() -> None:
    assert str(ConfigError("a is\n  3:\tgive 4 ")) == "a is 3: give 4"


@pytest.mark.parametrize(
    ("name", "answer"),
    [("Queue_Sise", " (did you mean queue_size?)"), ("K", " (did you mean k?)"), ("zzz", "")],
)
def test_the_nearest_name_is_offered_whatever_the_case(name: str, answer: str) -> None:
    assert did_you_mean(name, ["queue_size", "k"]) == answer
    assert did_you_mean(name, []) == ""


@pytest.mark.parametrize(
    ("names", "text"), [([], ""), ([1], "1"), (["a", "b"], "a or b"), ("abc", "a, b or c")]
)
def test_names_are_listed_as_a_person_would(names: list[object], text: str) -> None:
    assert listing(names) == text
    assert listing((name for name in names), "and") == text.replace("or", "and")
