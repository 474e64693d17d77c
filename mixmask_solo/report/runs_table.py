# SPDX-License-Identifier: MIT
"""Runs as a table: for a terminal of some width, as JSON, as CSV."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mixmask_solo.config import listing
from mixmask_solo.records.registry.filters import is_number
from mixmask_solo.records.registry.keys import Key, Names, is_online
from mixmask_solo.records.registry.record import STATES
from mixmask_solo.records.registry.row import Row
from mixmask_solo.report import columns

SHOWN = ("state", "name", "method", "mixed", "dataset", "epoch", "knn", "acc1", "age")
WRITTEN = (
    *("folder", "state", "method", "mixed", "dataset", "epochs", "max_epochs"),
    *("knn", "knn_kind", "acc1", "date"),
)
_DROPPED = ("age", "dataset", "method", "acc1", "mixed", "epoch")  # the first goes first
_HEADS = {"knn": "k-NN", "acc1": "top-1", "dataset": "data"}
_SHORTEST = 28  # characters of a name
_MARK = "*"
ONLINE = f"{_MARK} online k-NN (val_knn_acc1); the others in evaluation mode"
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def table(
    rows: Sequence[Row], keys: Sequence[Key], width: int | None = None, added: Sequence[str] = ()
) -> str:
    """The rows under each other and a footnote; the default columns are dropped where ``width``
    has no room for them, in the order of ``_DROPPED``, and names are cut in their middle."""
    names = [key.name for key in keys]
    marked = {row for row in rows if "knn" in names and is_online(row)}
    right = {key.name for key in keys if key.name in ("epoch", "age") or _any_number(rows, key)}
    cells = {
        key.name: [head(key.name), *(_cell(row, key, row in marked) for row in rows)]
        for key in keys
    }
    if marked and len(marked) < len(rows):
        cells["knn"] = [c if c.endswith(_MARK) else f"{c} " for c in cells["knn"]]
    if width is not None:
        _fit(cells, width, added)
    lines = list(zip(*cells.values(), strict=True))
    text = columns(lines, right=[i for i, name in enumerate(cells) if name in right])
    return f"{text}\n{ONLINE}" if marked and "knn" in cells else text


def head(name: str) -> str:
    """What stands above a column."""
    return _HEADS.get(name, name)


def as_csv(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A line of names, then one of values for each; lists and blocks as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for line in lines:
        cells = [line.get(name) for name in names]
        writer.writerow([json.dumps(c) if isinstance(c, (list, dict)) else c for c in cells])
    return text.getvalue().rstrip("\n")


def summary(rows: Sequence[Row], shown: int, names: Names) -> str:
    """``12 runs: 9 completed, 2 running and 1 died``."""
    counted = Counter(map(names.state, rows))
    states = [s for s in STATES if counted[s]] + sorted(counted.keys() - set(STATES))
    told = listing([f"{counted[state]:,} {state}" for state in states], "and")
    first = f", {shown:,} shown" if shown < len(rows) else ""
    return f"{len(rows):,} run{'s' * (len(rows) != 1)}: {told}{first}"


def text(name: str, value: Any) -> str:
    """A value as a person reads it; accuracies with two decimals."""
    if value is None:
        return "-"
    if isinstance(value, list):
        plain = all(isinstance(each, str) for each in value)
        return ("+".join(value) or "-") if plain else json.dumps(value)
    if name == "age":
        return age(value)
    if isinstance(value, float):
        return f"{value:.2f}" if name == "knn" or "acc" in name else f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value)


def age(seconds: float) -> str:
    """``3 h``."""
    unit, long = next(((u, s) for u, s in _UNITS if seconds >= s), ("s", 1))
    return f"{int(seconds // long)} {unit}"


def _cell(row: Row, key: Key, online: bool) -> str:
    told = text(key.name, key.get(row))
    if key.name == "epoch":
        if (steps := row.get("config.max_steps")) is not None:  # its epochs are rounds
            return f"{row.get('steps') or 0:,}/{steps:,} steps"
        of = row.get("config.max_epochs")
        return told if of is None else f"{told}/{of}"
    if key.name == "date":
        return told[:16].replace("T", " ")
    return told + _MARK if key.name == "knn" and online else told


def _any_number(rows: Sequence[Row], key: Key) -> bool:
    return any(is_number(key.get(row)) for row in rows)


def _fit(cells: dict[str, list[str]], width: int, added: Sequence[str]) -> None:
    """In place."""
    for name in ("", *_DROPPED):
        if name not in added:
            cells.pop(name, None)
        if _width(cells, _SHORTEST) <= width:
            break
    if "name" in cells and "name" not in added:
        room = max(width - _width(cells, 0), _SHORTEST)
        cells["name"] = [_shorten(cell, room) for cell in cells["name"]]


def _width(cells: Mapping[str, Sequence[str]], name: int) -> int:
    widths = {key: max(map(len, column)) for key, column in cells.items()}
    if "name" in widths:
        widths["name"] = min(widths["name"], name)
    return sum(widths.values()) + 2 * (len(widths) - 1)


def _shorten(name: str, length: int) -> str:
    """Its end tells runs of one name apart."""
    if len(name) <= length:
        return name
    end = (length - 1) // 2
    return f"{name[: length - 1 - end]}…{name[-end:]}"
