# SPDX-License-Identifier: MIT
"""Runs put together by what they have in common: the best of each, mean and spread."""

import json
import math
import re
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from mixmask_solo.config import ConfigError
from mixmask_solo.config.free import tells_apart, under
from mixmask_solo.records.registry.filters import is_number
from mixmask_solo.records.registry.keys import Key
from mixmask_solo.records.registry.row import BLOCKS, CONFIG, Row

_LOW = re.compile(r"loss|neg_cos_sim|rmse|error|seconds", re.IGNORECASE)

Groups = dict[tuple[str, ...], list[Row]]


class Spread(NamedTuple):
    """Of a metric over runs; ``std`` is the sample's (n - 1), None of a single run."""

    n: int
    mean: float
    std: float | None
    min: float
    max: float


def group(rows: Sequence[Row], by: Sequence[Key]) -> Groups:
    """The runs by the values of some keys, which are written as JSON, in the order of these."""
    groups: Groups = {}
    for row in rows:
        groups.setdefault(tuple(json.dumps(key.get(row)) for key in by), []).append(row)
    return dict(sorted(groups.items(), key=lambda item: [order(json.loads(v)) for v in item[0]]))


def order(value: Any) -> tuple[int, float, str]:
    """What to sort by: numbers, then text, then what is not there (or not a number, NaN)."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return 2, 0.0, ""
    if is_number(value):
        return 0, value, ""
    return 1, 0.0, value if isinstance(value, str) else json.dumps(value)


def ordered(rows: Sequence[Row], key: Key, *, reverse: bool = False) -> list[Row]:
    """From the lowest value to the highest, or reversed; runs without one last either way."""
    there = [row for row in rows if order(key.get(row))[0] < 2]
    missing = [row for row in rows if order(key.get(row))[0] == 2]
    return sorted(there, key=lambda row: order(key.get(row)), reverse=reverse) + missing


def lower_is_better(name: str) -> bool:
    """Of a metric of that name: a loss, BYOL's and SimSiam's among them, an error, a time."""
    return bool(_LOW.search(name))


def best(rows: Sequence[Row], key: Key, *, lowest: bool) -> list[Row]:
    """The run with the best value, all of them where several have it; none where none has one."""
    values = [value for value, _ in numbers(rows, key)]
    if not values:
        return []
    top = min(values) if lowest else max(values)
    return [row for value, row in numbers(rows, key) if value == top]


def numbers(rows: Sequence[Row], key: Key) -> list[tuple[float, Row]]:
    """The finite values, each with its run.

    Raises:
        ConfigError: where runs hold something else under the key.
    """
    found = [(key.get(row), row) for row in rows]
    other = next((v for v, _ in found if v is not None and not is_number(v)), None)
    if other is not None:
        raise ConfigError(f"{key.name} is no metric: {json.dumps(other)} for one")
    return [(value, row) for value, row in found if value is not None and math.isfinite(value)]


def spread(rows: Sequence[Row], key: Key) -> Spread | None:
    """Of a metric over the runs that have it; None where none has.

    Raises:
        ConfigError: where runs hold something else under the key.
    """
    values = [float(value) for value, _ in numbers(rows, key)]
    if not values:
        return None
    mean = math.fsum(values) / len(values)
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(len(values), mean, std, min(values), max(values))


def mixed_settings(groups: Groups) -> list[str]:
    """The keys that tell runs apart, other than the seed, in which runs of one group differ; of a
    strategy that not all have its block."""
    found: set[str] = set()
    for rows in groups.values():
        on = [set(row.keys.blocks) for row in rows]
        blocks = {f"{BLOCKS}{name}" for name in on[0].union(*on) - on[0].intersection(*on)}
        found |= blocks | {key for key in _differing(rows) if not under(key, tuple(blocks))}
    return sorted(found)


def _differing(rows: Sequence[Row]) -> set[str]:
    """Most runs are alike, so those that are are looked at together."""
    names = {name for keys in {row.keys for row in rows} for name in keys.place}
    told = [n for n in names if n.startswith(CONFIG) and _tells_apart(n.removeprefix(CONFIG))]
    alike = {json.dumps([row.get(name) for name in told]): row for row in rows}
    first, *others = alike.values()
    return {
        name.removeprefix(CONFIG)
        for name in told
        if any(row.get(name) != first.get(name) for row in others)
    }


def _tells_apart(key: str) -> bool:
    return key != "seed" and tells_apart(key)
