# SPDX-License-Identifier: MIT
"""A dataclass field with its range: the way a schema says what a value may be."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import MISSING, field
from typing import Any

__all__ = ["option"]


def option(
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Sequence[Any] | None = None,
    length: int | None = None,
    absent: bool = False,
) -> Any:
    """A field of a schema; without ``default`` the key is required.

    Args:
        default: value when the key is absent; lists and dicts are copied for each instance.
        low: smallest allowed number; holds for each number of a list too.
        high: largest allowed number.
        above: the number must be larger than this.
        choices: allowed values.
        length: exact number of items of a list.
        absent: a null value is left out of the resolved configuration instead of written down.
    """
    limits = {"low": low, "high": high, "above": above, "choices": choices, "length": length}
    metadata: dict[str, Any] = {name: limit for name, limit in limits.items() if limit is not None}
    metadata["absent"] = absent
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return field(default=default, metadata=metadata)
