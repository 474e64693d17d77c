# SPDX-License-Identifier: MIT
"""Metrics of a result in words, with the epoch where that is not the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["measured"]


def measured(result: dict[str, Any], wanted: Sequence[tuple[str, str, str]]) -> list[str]:
    """The metrics that there are.

    Args:
        result: content of ``result.json``.
        wanted: name, label, and format with a unit, such as ``{:.2f} %``.
    """
    now, earlier = result.get("metrics", {}), result.get("earlier_metrics", {})
    told = []
    for name, label, form in wanted:
        if name in now:
            told.append(f"{label} {form.format(now[name])}")
        elif name in earlier:
            then = earlier[name]
            told.append(f"{label} {form.format(then['value'])} (epoch {then['epoch'] + 1})")
    return told
