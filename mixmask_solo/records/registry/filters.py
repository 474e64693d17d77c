# SPDX-License-Identifier: MIT
"""``knn>90``, ``method=byol``, ``name=simclr*``: which runs are meant."""

import json
import operator
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from mixmask_solo.config import ConfigError, require_known
from mixmask_solo.records.registry.keys import Names
from mixmask_solo.records.registry.record import STATES
from mixmask_solo.records.registry.row import Row

_WORD = re.compile(r"([^/=<>!~]*)(!=|<=|>=|==|=|<|>|~)(.*)", re.DOTALL)
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_DAY = re.compile(r"\d{4}-\d\d")  # how a date begins; as text they are in order


class Filter(NamedTuple):
    """A key, an operator and what to compare with, as it was written."""

    key: str
    sign: str
    text: str

    def __str__(self) -> str:
        return "".join(self)


def parse_filter(word: str) -> Filter | None:
    """A word of the command line as a filter; None where it has no operator before a slash.

    Raises:
        ConfigError: where nothing stands on one side, an order is asked of what has none, or there
            is no such state.
    """
    found = _WORD.fullmatch(word)
    if found is None:
        return None
    key, sign, text = (part.strip() for part in found.groups())
    if not key or not text:
        raise ConfigError(f"{word!r} is no filter: write KEY=VALUE, or !=, <, <=, >, >=, ~")
    if sign in _ORDER and _number(text) is None and not _DAY.match(text):
        raise ConfigError(f"{word!r}: {sign} compares with a number or a date, 2026-01-31")
    if key == "state" and not set(text) & set("*?["):
        require_known(key, text, STATES)
    return Filter(key, "=" if sign == "==" else sign, text)


def select(rows: Sequence[Row], filters: Sequence[Filter], names: Names) -> list[Row]:
    """The runs that all filters match; one without the key, or with null there, matches ``=null``
    alone.

    ``=`` and ``!=`` compare numbers as such and text with ``*``, ``?`` and ``[]`` as a pattern; of
    a list any element may match. ``~`` looks for a part of the text, whatever the case.

    Raises:
        ConfigError: for a key that no run has, and an order where all that have it hold text.
    """
    kept = list(rows)
    for one in filters:
        key = names.key(one.key)
        if one.sign in _ORDER:
            _check_order(one, [key.get(row) for row in rows])
        kept = [row for row in kept if matches(one, key.get(row))]
    return kept


def matches(one: Filter, value: Any) -> bool:
    """Whether a filter matches a run that has this value of its key."""
    if one.sign == "=":
        return _equals(value, one.text)
    if value is None:
        return False
    if one.sign == "!=":
        return not _equals(value, one.text)
    if one.sign == "~":
        return one.text.lower() in _text(value).lower()
    number = _number(one.text)
    if number is None:
        return isinstance(value, str) and _ORDER[one.sign](value, one.text)
    return is_number(value) and _ORDER[one.sign](value, number)


def is_number(value: Any) -> bool:
    """Whether it can be compared and averaged; a truth value cannot."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_order(one: Filter, values: Sequence[Any]) -> None:
    there = [value for value in values if value is not None]
    number = _number(one.text) is not None
    if there and not any(is_number(v) if number else isinstance(v, str) for v in there):
        kinds = {str: "is text", int: "is a number", float: "is a number", list: "is a list"}
        what = kinds.get(type(there[0]), "has no order")
        remedy = "compare with =, != or ~" if number else "compare with a number"
        raise ConfigError(f"{one}: {one.key} {what} ({_text(there[0])} for one): {remedy}")


def _equals(value: Any, text: str) -> bool:
    if value is None:
        return text in ("null", "None")
    if isinstance(value, list):
        return any(_equals(each, text) for each in value) or _text(value) == text
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if is_number(value):
        return value == _number(text)
    return fnmatchcase(_text(value), text) or _text(value) == text


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
