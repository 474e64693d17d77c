# SPDX-License-Identifier: MIT
"""Which runs the words of a ``mixmask-runs`` command mean."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.cli.ending import complain
from mixmask_solo.records.registry.filters import parse_filter, select
from mixmask_solo.records.registry.keys import Names
from mixmask_solo.records.registry.read import default_roots, read_rows
from mixmask_solo.records.registry.row import Row

COMMAND = "mixmask-runs"


class Asked(NamedTuple):
    """The runs that match, the folders they were looked for in, and what their keys are called."""

    rows: list[Row]
    roots: list[Path]
    names: Names


def asked(words: Sequence[str]) -> Asked:
    """Reads the runs below the folders among the words, and keeps those that the filters match.

    Raises:
        ConfigError: for what is neither, see :func:`read_rows` and :func:`select`.
    """
    parsed = [(word, parse_filter(word)) for word in words]
    roots = [Path(word) for word, one in parsed if one is None] or default_roots()
    rows, damaged = read_rows(roots)
    for line in damaged:
        complain(COMMAND, f"passed over: {line}")
    names = Names(rows)
    return Asked(select(rows, [one for _, one in parsed if one is not None], names), roots, names)


def completed(found: Asked) -> list[Row]:
    """Of the runs that match."""
    return [row for row in found.rows if found.names.state(row) == "completed"]
