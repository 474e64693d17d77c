# SPDX-License-Identifier: MIT
"""Parquet files as they are opened, and which of their columns number the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.columns import LABEL, maybe_labels
from mixmask_solo.data.sources.request import Request

__all__ = ["opened_table", "row_ids"]

_FEW = 3  # of fewer rows that all differ nothing can be told


@contextmanager
def opened_table(file: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``.

    Raises:
        ConfigError: for a file that cannot be read, or with two columns of one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, memory_map=True) as table:
            names = table.schema_arrow.names
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"{file} has {names.count(twice)} columns '{twice}': give each its own name"
                )
            yield table
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ConfigError(f"{file} is not a readable Parquet file: {reason}") from None


def row_ids(files: Sequence[Path], request: Request) -> set[str]:
    """Columns of whole numbers that differ in every row of every file: no labels.

    Only what nothing else tells is looked at: no column is called as labels usually are, nor asked
    for. In a validation split numbers below the number of classes may be labels all the same.

    Raises:
        ConfigError: for a file that cannot be read.
    """
    ids: set[str] = set()
    unseen = True
    for file in files:
        with opened_table(file) as table:
            schema = table.schema_arrow
            usual = any(name.lower() in LABEL for name in schema.names)
            if usual or request.label_column is not None or request.no_labels:
                return set()
            if table.metadata.num_rows < _FEW:
                continue
            names = [name for name in maybe_labels(schema) if unseen or name in ids]
            ids = {n for n in names if _differ(table.read(columns=[n]).column(0), request)}
            unseen = False
        if not ids:
            break
    return ids


def _differ(column: Any, request: Request) -> bool:
    import pyarrow.compute as pc

    if pc.count_distinct(column, mode="all").as_py() < len(column):
        return False
    return not request.classes or pc.max(column).as_py() >= len(request.classes)
