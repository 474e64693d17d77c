# SPDX-License-Identifier: MIT
"""One value against one type hint and its limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mixmask_solo.config.errors import ConfigError
from mixmask_solo.config.nearest import did_you_mean, listing

__all__ = ["admits_null", "convert", "describe"]

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class _Mismatch(Exception):
    """The value is not of this type; another member of a union may still fit."""


def convert(value: Any, hint: Any, key: str, limits: Mapping[str, Any]) -> Any:
    """Returns ``value`` as ``hint`` wants it, within ``limits``.

    A whole number passes as a number, and so does text such as ``1e-4`` (YAML 1.1 reads that as
    text, not as a number).

    Args:
        value: plain Python value, not None unless ``hint`` admits it.
        hint: int, float, bool, str, None, Literal, list, dict, Any or a union of them.
        key: full key, for the error line.
        limits: the field's metadata as made by ``option``.

    Raises:
        ConfigError: naming key, value and what is allowed.
    """
    if value == "None" and isinstance(value, str) and hint is not Any:
        instead = "write null" if admits_null(hint) else describe(hint, limits)
        raise ConfigError(f"{key} is 'None', which is text to YAML: {instead}")
    try:
        result = _convert(value, hint)
    except _Mismatch:
        names = _choices(hint, limits)
        near = did_you_mean(value, names) if names and isinstance(value, str) else ""
        raise ConfigError(f"{key} is {value!r}: {describe(hint, limits)}{near}") from None
    _limit(result, hint, key, limits)
    return result


def admits_null(hint: Any) -> bool:
    """Whether null is a value of this hint."""
    return hint in (Any, None, NoneType) or NoneType in get_args(hint)


def describe(hint: Any, limits: Mapping[str, Any]) -> str:
    """What to write, e.g. ``give a number from 0 to 1`` or ``choose block or discrete``."""
    names = _choices(hint, limits)
    if names:
        return f"choose {listing(names)}"
    return f"give {_kind(hint)}{_range(limits)}"


def _convert(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        return _union(value, get_args(hint))
    if origin is Literal:
        # 1 == True == 1.0 in Python, but not in a configuration file
        if any(type(value) is type(c) and value == c for c in get_args(hint)):
            return value
        raise _Mismatch
    if origin is list or hint is list:
        (item,) = get_args(hint) or (Any,)
        if not isinstance(value, list):
            raise _Mismatch
        return [_convert(v, item) for v in value]
    if origin is dict or hint is dict:
        if not isinstance(value, dict):
            raise _Mismatch
        return dict(value)
    return _scalar(value, hint)


def _union(value: Any, hints: tuple[Any, ...]) -> Any:
    """The member that fits as it is, else the first one that fits by conversion."""
    fits = []
    for hint in hints:
        try:
            result = _convert(value, hint)
        except _Mismatch:
            continue
        if type(result) is type(value):
            return result
        fits.append(result)
    if not fits:
        raise _Mismatch
    return fits[0]


def _scalar(value: Any, hint: Any) -> Any:
    if hint in (None, NoneType) and value is None:
        return None
    if hint is float and not isinstance(value, bool) and isinstance(value, (int, float, str)):
        try:
            return float(value)
        except ValueError:
            raise _Mismatch from None
    if hint is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # name=2024 on a command line
    if hint in (int, bool, str) and type(value) is hint:
        return value
    raise _Mismatch


def _limit(value: Any, hint: Any, key: str, limits: Mapping[str, Any]) -> None:
    if isinstance(value, list):
        length = limits.get("length")
        if length is not None and len(value) != length:
            raise ConfigError(f"{key} has {len(value)} items: give {length}")
        for i, item in enumerate(value):
            _limit(item, hint, f"{key}[{i}]", limits)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _limit_number(value, hint, key, limits)
    choices = limits.get("choices")
    if choices is not None and value is not None and value not in choices:
        near = did_you_mean(str(value), [str(c) for c in choices])
        raise ConfigError(f"{key} is {value!r}: choose {listing(choices)}{near}")


def _limit_number(value: float, hint: Any, key: str, limits: Mapping[str, Any]) -> None:
    low, high, above = (limits.get(name) for name in ("low", "high", "above"))
    wrong = (
        not math.isfinite(value)
        or (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
    )
    if wrong:
        raise ConfigError(f"{key} is {value}: {describe(hint, limits)}")


def _choices(hint: Any, limits: Mapping[str, Any]) -> list[str]:
    """Names to choose from where the hint holds nothing but names (and null)."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    members = tuple(m for m in members if m is not NoneType)
    if all(get_origin(m) is Literal for m in members):
        return [str(c) for m in members for c in get_args(m)]
    return [str(c) for c in limits.get("choices", ())]


def _kind(hint: Any) -> str:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return listing(_kind(h) for h in get_args(hint))
    if origin is Literal:
        return listing(get_args(hint))
    if origin is list:
        return "a list, each item " + _kind(get_args(hint)[0])
    if hint in (None, NoneType):
        return "null"
    if hint is dict or origin is dict:
        return "a block of keys"
    return _WORDS.get(hint, "a value")


def _range(limits: Mapping[str, Any]) -> str:
    low, high, above = (limits.get(name) for name in ("low", "high", "above"))
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if above is not None:
        return f" above {above}" + (f", at most {high}" if high is not None else "")
    if low is not None:
        return f", at least {low}"
    return f", at most {high}" if high is not None else ""
