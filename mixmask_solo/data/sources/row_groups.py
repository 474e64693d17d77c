# SPDX-License-Identifier: MIT
"""Encoded images out of Parquet files, one row group at a time, the recent ones kept."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.data.sources.base import Encoded, Handles, ImageError

__all__ = ["CACHE_BYTES", "RowGroups"]

# What one process keeps of the encoded bytes: CIFAR-10 (46 MB) and Tiny-ImageNet (195 MB) fit.
CACHE_BYTES = 512 << 20


class RowGroups:
    """Random access to one binary column of several Parquet files.

    Parquet hands out whole row groups; the last ones used stay in memory up to a bound.

    Args:
        files: the shards in order.
        column: path of the column, ``image.bytes`` or ``image``.
        layout: of each file's row groups, rows and bytes of the column, unpacked.
        cache_bytes: the bound.

    Attributes:
        starts: (row groups + 1,) first row of each, and the number of rows.
        weights: bytes of each.
        places: file number of each, and its number within the file.
    """

    def __init__(
        self,
        files: Sequence[Path],
        column: str,
        layout: Sequence[Sequence[tuple[int, int]]],
        *,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.files = [os.fspath(file) for file in files]
        self.column = column
        sizes = [rows for groups in layout for rows, _ in groups]
        self.starts = np.cumsum([0, *sizes], dtype=np.int64)
        self.weights = [weight for groups in layout for _, weight in groups]
        self.places = [(f, g) for f, groups in enumerate(layout) for g in range(len(groups))]
        self.cache_bytes = cache_bytes
        self._handles = Handles(self.files, _opened)
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.places)

    @property
    def fit(self) -> bool:
        """Whether all of them can stay in memory."""
        return sum(self.weights) <= self.cache_bytes

    def locate(self, row: int) -> tuple[int, int]:
        """The row group a row lies in, and its place there."""
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        return group, row - int(self.starts[group])

    def get(self, row: int) -> Encoded | None:
        """The bytes of one row as a view of Arrow's buffer; None where the file holds none."""
        group, place = self.locate(row)
        buffer = self.group(group)[place].as_buffer()
        return None if buffer is None else np.frombuffer(buffer, dtype=np.uint8)

    def group(self, group: int) -> Any:
        """The column of one row group, as an Arrow array of binary values."""
        if group in self._kept:
            self._kept.move_to_end(group)
            return self._kept[group]
        column = self._kept[group] = self._read(group)
        self._kept_bytes += self.weights[group]
        while self._kept_bytes > self.cache_bytes and len(self._kept) > 1:
            oldest, _ = self._kept.popitem(last=False)
            self._kept_bytes -= self.weights[oldest]
        return column

    def _read(self, group: int) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        file, number = self.places[group]
        try:
            handle = self._handles[file]
            # one thread: this runs in every worker of a loader
            table = handle.read_row_group(number, columns=[self.column], use_threads=False)
        except (pa.ArrowException, OSError) as error:
            place = f"{self.files[file]} row group {number}"
            raise ImageError(f"{place} cannot be read: {str(error).strip()}") from error
        column = table.column(0)
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, "bytes")
        return column.chunk(0) if column.num_chunks == 1 else column

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict(), "_kept_bytes": 0}


def _opened(file: str) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, memory_map=True)
