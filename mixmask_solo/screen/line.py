# SPDX-License-Identifier: MIT
"""One line that is whole at any width: what matters first, the rest as far as it has room."""

from collections.abc import Sequence
from datetime import timedelta

_BETWEEN = " · "
_BAR = {True: ("━", "╌"), False: ("#", "-")}  # for an encoding that has the signs, or not
_ASCII = str.maketrans({"·": "|", "λ": "lam"})


def line(
    head: str,
    done: int,
    total: int | None,
    left: float | None,
    terms: Sequence[str],
    width: int,
    *,
    signs: bool = True,
) -> str:
    """``head ━━━╌╌╌ 3/6 · 0:12 left · term · ...`` in at most ``width`` columns.

    ``left`` are seconds; ``terms`` are dropped from their end, the first one that has no room and
    all behind it. ``signs`` says that more than ASCII can be shown.
    """
    start = [head]
    if total:
        full, empty = _BAR[signs]
        cells = 20 if width >= 100 else 10
        filled = cells * min(done, total) // total
        start += [full * filled + empty * (cells - filled), f"{done:,}/{total:,}"]
    elif done:
        start.append(f"{done:,}")
    kept = [" ".join(start)]
    if left is not None:
        kept.append(f"{duration(left)} left")
    return fit([*kept, *terms], width, always=len(kept), signs=signs)


def fit(parts: Sequence[str], width: int, *, always: int = 1, signs: bool = True) -> str:
    """The parts in one line of at most ``width`` columns; the first ``always`` in any case."""
    text = _BETWEEN.join(parts[:always])
    for part in parts[always:]:
        if len(text) + len(_BETWEEN) + len(part) > width:
            break
        text += _BETWEEN + part
    return text if signs else text.translate(_ASCII)


def duration(seconds: float) -> str:
    """``0:12``, ``1:02:03``, ``3 days, 0:00:00``."""
    text = str(timedelta(seconds=round(seconds)))
    short = text.removeprefix("0:0") if text.startswith("0:0") else text.removeprefix("0:")
    return short if seconds < 3600 else text
