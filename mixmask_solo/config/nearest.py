# SPDX-License-Identifier: MIT
"""Names in error lines: the nearest known one, and lists a person can read."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "listing", "nearest"]


def nearest(name: str, known: Collection[str]) -> str | None:
    """The known name most like ``name``, or None when none is close.

    Args:
        name: what the user wrote.
        known: the allowed names.
    """
    lowered = {k.lower(): k for k in sorted(known, reverse=True)}
    found = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`` (did you mean x?)``, or nothing when no known name is close."""
    match = nearest(name, known)
    return f" (did you mean {match}?)" if match else ""


def listing(names: Iterable[object], last: str = "or") -> str:
    """``a, b or c``."""
    words = [str(name) for name in names]
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
