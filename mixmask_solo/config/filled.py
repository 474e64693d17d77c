# SPDX-License-Identifier: MIT
"""A checked block back as a dict, over what the user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["filled"]


def filled(values: Mapping[str, Any] | None, block: Any) -> dict[str, Any]:
    """The user's keys in their order, converted, then every default.

    Args:
        values: plain values that ``block`` was read from; keys unknown to it are kept.
        block: instance of a schema.
    """
    result = dict(values or {})
    for f in fields(block):
        value = getattr(block, f.name)
        if value is None and f.metadata.get("absent"):
            result.pop(f.name, None)
        elif is_dataclass(value):
            result[f.name] = filled(result.get(f.name), value)
        elif isinstance(value, list) and any(is_dataclass(item) for item in value):
            entries = zip(result[f.name], value, strict=True)
            result[f.name] = [filled(given, item) for given, item in entries]
        else:
            result[f.name] = value
    return result
