# SPDX-License-Identifier: MIT
"""One key of a schema: how a field says what it takes, and one value read by that."""

import copy
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, field
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from mixmask_solo.config.errors import ConfigError, did_you_mean, listing

_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a block of keys",
    NoneType: "null",
}


def option(
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[Any] | None = None,
    length: int | None = None,
    distinct: bool = False,
    absent: bool = False,
) -> Any:
    """A field of a schema; without ``default``, which is copied for each instance, it is required.

    Its number (or each of a list of ``length``) is from ``low`` to ``high`` and greater than
    ``above``. A list of ``distinct`` items has one at least. With ``absent`` a null value is left
    out of the resolved configuration.
    """
    limits = {"low": low, "high": high, "above": above, "choices": choices, "length": length}
    limits["distinct"] = distinct or None
    metadata = {"absent": absent, **{k: limit for k, limit in limits.items() if limit is not None}}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def members(hint: Any) -> tuple[Any, ...]:
    """The types that a hint admits: those of a union, else the hint itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def convert(value: Any, hint: Any, key: str, limits: Mapping[str, Any]) -> Any:
    """Returns ``value`` as ``hint`` wants it, within ``limits``, a field's metadata.

    A whole number passes as a number, and so does text such as ``1e-4`` (YAML 1.1 reads that as
    text). Hints are int, float, bool, str, None, Literal, list, dict, Any or a union of them.
    Raises ConfigError, naming key, value and what is allowed.
    """
    if isinstance(value, str) and value in ("None", "") and hint is not Any:
        # an empty one is mostly a variable of the shell that is not set
        instead = "write null" if NoneType in members(hint) else describe(hint, limits)
        what = "'None', which is text to YAML" if value else "an empty text"
        raise ConfigError(f"{key} is {what}: {instead}")
    try:
        value = _convert(value, hint)
        if value is not None and value not in limits.get("choices", [value]):
            raise _Mismatch
    except _Mismatch:
        names = _names(hint, limits)
        near = did_you_mean(value, names) if names and isinstance(value, str) else ""
        raise ConfigError(f"{key} is {value!r}: {describe(hint, limits)}{near}") from None
    _refuse_beyond(limits, value, hint, key)
    return value


def describe(hint: Any, limits: Mapping[str, Any]) -> str:
    """What to write, e.g. ``give a number from 0 to 1`` or ``choose block or discrete``."""
    names = _names(hint, limits)
    if names:
        return f"choose {listing(names)}"
    return f"give {_kind(hint)}{_range(limits)}"


class _Mismatch(Exception):
    """The value is not of this type; another member of a union may still fit."""


def _convert(value: Any, hint: Any) -> Any:
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, UnionType):
        # the member that fits as it is, else the first one that fits by conversion
        fits = []
        for member in inner:
            with suppress(_Mismatch):
                fits.append(_convert(value, member))
        if fits:
            return next((fit for fit in fits if type(fit) is type(value)), fits[0])
    elif origin is Literal:
        # 1 == True == 1.0 in Python, but not in a configuration file
        if any(type(value) is type(name) and value == name for name in inner):
            return value
    elif origin is list and isinstance(value, list):
        return [_convert(item, *inner or (Any,)) for item in value]
    elif origin is dict and isinstance(value, dict):
        return dict(value)
    elif origin is float and type(value) in (int, float, str):
        with suppress(ValueError):
            return float(value)
    elif origin is str and type(value) is int:
        return str(value)  # name=2024 on a command line
    elif type(value) is origin:
        return value
    raise _Mismatch


def _refuse_beyond(limits: Mapping[str, Any], value: Any, hint: Any, key: str) -> None:
    if isinstance(value, list):
        length = limits.get("length")
        if length is not None and len(value) != length:
            raise ConfigError(f"{key} has {len(value)} items: give {length}")
        if "distinct" in limits:
            _refuse_repeats(value, key)
        for i, item in enumerate(value):
            _refuse_beyond(limits, item, hint, f"{key}[{i}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = limits.get("low", -math.inf), limits.get("high", math.inf)
        within = low <= value <= high and value > limits.get("above", -math.inf)
        if not within or not math.isfinite(value):
            raise ConfigError(f"{key} is {value}: {describe(hint, limits)}")


def _refuse_repeats(items: list[Any], key: str) -> None:
    if not items:
        raise ConfigError(f"{key} is an empty list: give one value at least")
    twice = next((item for i, item in enumerate(items) if item in items[:i]), None)
    if twice is not None:
        raise ConfigError(f"{key} holds {str(twice).lower()} twice: give each value once")


def _names(hint: Any, limits: Mapping[str, Any]) -> list[str]:
    """Names to choose from where the hint holds nothing but names (and null)."""
    own = [member for member in members(hint) if member is not NoneType]
    if all(get_origin(member) is Literal for member in own):
        return [str(name) for member in own for name in get_args(member)]
    return [str(name) for name in limits.get("choices", ())]


def _kind(hint: Any) -> str:
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, UnionType):
        return listing(_kind(member) for member in inner)
    if origin is Literal:
        return listing(inner)
    if origin is list:
        return "a list, each item " + _kind(inner[0])
    return _WORDS.get(origin, "a value")


def _range(limits: Mapping[str, Any]) -> str:
    if "low" in limits and "high" in limits:
        return f" from {limits['low']} to {limits['high']}"
    words = {"above": " above {}", "low": ", at least {}", "high": ", at most {}"}
    return "".join(text.format(limits[name]) for name, text in words.items() if name in limits)
