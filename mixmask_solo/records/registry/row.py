# SPDX-License-Identifier: MIT
"""A run as one line of values, for questions to thousands of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mixmask_solo.records.registry.record import RunRecord

CONFIG = "config."
BLOCKS = "method_kwargs."  # there, of the strategies that are on


@dataclass(frozen=True, eq=False)
class Keys:
    """Dotted keys of a ``result.json``, and at which place a row has each; many rows share them."""

    place: Mapping[str, int]

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """The strategies that are on: those of ``method_kwargs`` that hold keys themselves."""
        start = f"{CONFIG}{BLOCKS}"
        inner = (key[len(start) :] for key in self.place if key.startswith(start))
        return tuple(dict.fromkeys(key.partition(".")[0] for key in inner if "." in key))


@dataclass(frozen=True, eq=False)
class Row:
    """A run's folder and all values of its ``result.json``, pieces counted."""

    folder: Path
    keys: Keys
    values: list[Any]

    def get(self, key: str) -> Any:
        """The value of a dotted key; None where there is none."""
        place = self.keys.place.get(key)
        return None if place is None else self.values[place]

    def state(self, at: datetime) -> str:
        """As :meth:`RunRecord.state`."""
        told = {key: self.get(key) for key in ("status", "heartbeat", "error")}
        process = {"host": self.get("process.host"), "pid": self.get("process.pid")}
        pieces = [{"started": self.get("provenance.date")}]  # the same moment, of the last process
        return RunRecord(self.folder, {**told, "process": process, "pieces": pieces}).state(at)


def flatten(result: Mapping[str, Any]) -> dict[str, Any]:
    """``{"config.optimizer.lr": 0.1, ...}``; of the pieces only how many there are."""
    pieces = result.get("pieces")
    return dict(leaves({**result, "pieces": len(pieces) if isinstance(pieces, list) else None}))


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values; lists of blocks are counted, ``augmentations[0].crop_size``."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        for i, inner in enumerate(value):
            yield from leaves(inner, f"{key}[{i}]")
    else:
        yield key, value
