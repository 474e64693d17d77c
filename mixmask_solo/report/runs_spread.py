# SPDX-License-Identifier: MIT
"""Groups of runs: mean and deviation of their metrics."""

import json
from collections.abc import Sequence
from typing import Any

from mixmask_solo.config import listing
from mixmask_solo.records.registry.groups import Groups, mixed_settings, spread
from mixmask_solo.records.registry.keys import Key, is_online
from mixmask_solo.report import columns
from mixmask_solo.report.runs_table import head, text

METRICS = ("knn", "acc1")
_NAMED = 5  # keys in a warning


def spread_table(groups: Groups, by: Sequence[Key], metrics: Sequence[Key]) -> str:
    """A line a group; the deviation is the sample's (n - 1), and a single run has none."""
    top = [head(key.name) for key in by]
    lines = [(*top, *(name for key in metrics for name in (head(key.name), "n", "min", "max")))]
    for values, rows in groups.items():
        cells = [text(key.name, json.loads(v)) for key, v in zip(by, values, strict=True)]
        for key in metrics:
            found = spread(rows, key)
            if found is None:
                cells += ["-", "0", "-", "-"]
                continue
            mean, low, high = (text(key.name, x) for x in (found.mean, found.min, found.max))
            std = "" if found.std is None else f" ± {text(key.name, found.std)}"
            cells += [f"{mean}{std}", str(found.n), low, high]
        lines.append(tuple(cells))
    return columns(lines, right=range(len(by), len(lines[0])))


def spread_lines(groups: Groups, by: Sequence[Key], metrics: Sequence[Key]) -> list[dict[str, Any]]:
    """The same, a flat dictionary a group, ``knn.mean`` and so on."""
    lines = []
    for values, rows in groups.items():
        line = {key.name: json.loads(v) for key, v in zip(by, values, strict=True)}
        line["runs"] = len(rows)
        for key in metrics:
            found = spread(rows, key)
            told = found._asdict() if found else {"n": 0}
            line |= {
                f"{key.name}.{what}": told.get(what) for what in ("n", "mean", "std", "min", "max")
            }
        lines.append(line)
    return lines


def warnings(groups: Groups, metrics: Sequence[Key]) -> list[str]:
    """What makes a mean one of different things, a line each."""
    lines = []
    keys = mixed_settings(groups)
    if keys:
        more = [f"{len(keys) - _NAMED} more keys"] if len(keys) > _NAMED else []
        told = listing([*keys[:_NAMED], *more], "and")
        lines.append(
            f"runs of one group differ in {told}, not in the seed alone, so that means are over "
            "different settings: name keys with --by, or filter"
        )
    online = [row for rows in groups.values() for row in rows if is_online(row)]
    runs = sum(map(len, groups.values()))
    if any(key.name == "knn" for key in metrics) and 0 < len(online) < runs:
        lines.append(
            f"knn is the online one of {len(online)} of {runs} runs, and measured in evaluation "
            "mode of the others: --metric val_knn_acc1 compares the online ones"
        )
    return lines
