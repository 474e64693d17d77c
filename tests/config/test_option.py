# SPDX-License-Identifier: MIT
"""One value against one hint; ``test_check`` has the whole table through ``check``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from mixmask_solo.config import ConfigError, option
from mixmask_solo.config.option import convert, describe


@pytest.mark.parametrize(
    ("hint", "limits", "text"),
    [
        (int, {"low": 1}, "give a whole number, at least 1"),
        (float, {"above": 0, "high": 2}, "give a number above 0, at most 2"),
        (float, {"low": 0, "high": 1}, "give a number from 0 to 1"),
        (str, {"choices": ("a", "b")}, "choose a or b"),
        (Literal["a", "b"] | None, {}, "choose a or b"),
        (bool | Literal["auto"], {}, "give true or false or auto"),
        (list[int] | None, {"high": 3}, "give a list, each item a whole number or null, at most 3"),
        (dict[str, Any], {}, "give a block of keys"),
    ],
)
def test_what_to_write_is_said_in_words(hint: Any, limits: dict[str, Any], text: str) -> None:
    assert describe(hint, limits) == text


def test_of_a_union_the_member_that_fits_as_it_is_wins() -> None:
    assert type(convert(1, float | int, "k", {})) is int
    assert convert("auto", int | Literal["auto"], "k", {}) == "auto"
    assert convert("1e-4", float | list[float], "k", {}) == 1e-4
    with pytest.raises(ConfigError, match="k is True: give a whole number or text"):
        convert(True, int | str, "k", {})


def test_a_default_list_is_copied() -> None:
    @dataclass
    class Keys:
        sizes: list[int] = option([1])

    Keys().sizes.append(2)
    assert Keys().sizes == [1]


def test_items_that_have_to_differ() -> None:
    limits = {"distinct": True, "above": 0.0}
    hint = float | list[float]
    assert convert([1, 0.5], hint, "lr", limits) == [1.0, 0.5]
    assert convert(1, hint, "lr", limits) == 1.0
    for value, message in (
        ([], "lr is an empty list: give one value at least"),
        ([1, 2, 1.0], "lr holds 1.0 twice: give each value once"),
        ([1, 0], r"lr\[1\] is 0.0: give a number or a list, each item a number above 0.0"),
    ):
        with pytest.raises(ConfigError, match=f"^{message}$"):
            convert(value, hint, "lr", limits)
