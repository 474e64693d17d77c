# SPDX-License-Identifier: MIT
"""``shard-{000..009}.tar`` and ``{a,b}.tar`` as a shell reads them."""

from __future__ import annotations

import re

__all__ = ["expand"]

_INNERMOST = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand(pattern: str) -> list[str]:
    """All names of a pattern, in order; a pattern without braces is its own only name."""
    found = _INNERMOST.search(pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for item in _items(found[1]) for name in expand(before + item + after)]


def _items(inner: str) -> list[str]:
    numbers = _RANGE.fullmatch(inner)
    if numbers is None:
        return inner.split(",")
    first, last = numbers.groups()
    step = 1 if int(first) <= int(last) else -1
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    return [str(n).zfill(width) for n in range(int(first), int(last) + step, step)]
