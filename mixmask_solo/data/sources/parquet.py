# SPDX-License-Identifier: MIT
"""Parquet files as the Hugging Face hub publishes image data: ``image{bytes, path}``, ``label``.

Opening reads the footers and the labels; images come row group by row group. A split that fits
into ``CACHE_BYTES`` stays in memory and is read in any order, a larger one in ``Blocks``.
"""

import os
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError
from mixmask_solo.data.locks import ThreadLock
from mixmask_solo.data.sources.base import Encoded, ImageError, Labels, Request, Source
from mixmask_solo.data.sources.blocks import Blocks
from mixmask_solo.data.sources.columns import Columns, find_columns, opened_table, row_ids
from mixmask_solo.data.sources.label_values import label_texts, numbered
from mixmask_solo.data.sources.shards import Handles, find_shards

# What one process keeps of the encoded bytes: CIFAR-10 (46 MB) and Tiny-ImageNet (195 MB) fit.
CACHE_BYTES = 512 << 20

_READING = ThreadLock()  # of row groups: threads that want the same one wait for the first


@dataclass(frozen=True)
class _Shard:
    """One file."""

    file: Path
    names: list[str]  # of all columns
    columns: Columns
    leaf: str  # path of the images' column, ``image.bytes`` or ``image``
    kind: str  # of the labels
    texts: list[str]  # what they say
    groups: list[tuple[int, int]]  # rows and bytes of each row group


class ParquetSource(Source):
    """Encoded images of Parquet files; row groups used last stay in memory, to ``cache_bytes``."""

    def __init__(
        self, shards: Sequence[_Shard], labels: Labels, classes: Sequence[str], cache_bytes: int
    ) -> None:
        super().__init__(labels, classes)
        self.columns = tuple(shards[0].names)
        self.column = shards[0].leaf
        self.files = [os.fspath(shard.file) for shard in shards]
        # of each row group its file and number there, its bytes unpacked, and its first row
        self.places = [(f, g) for f, shard in enumerate(shards) for g in range(len(shard.groups))]
        self.weights = [weight for shard in shards for _, weight in shard.groups]
        sizes = [rows for shard in shards for rows, _ in shard.groups]
        self.starts = np.cumsum([0, *sizes], dtype=np.int64)
        self.cache_bytes = cache_bytes
        self._handles = Handles(self.files, partial(pq.ParquetFile, memory_map=True))
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._kept_bytes = 0
        self._paths: tuple[int, list[str | None]] = (-1, [])  # of one row group

    def locate(self, index: int) -> tuple[int, int]:
        """The row group an image lies in, and its row there."""
        group = int(np.searchsorted(self.starts, index, side="right")) - 1
        return group, index - int(self.starts[group])

    def name(self, index: int) -> str:
        group, row = self.locate(index)
        file, number = self.places[group]
        return f"{self.files[file]} row {row} of row group {number}"

    def path(self, index: int) -> str | None:
        if not self.column.endswith(".bytes"):
            return None
        group, place = self.locate(index)
        if self._paths[0] != group:
            name = self.column.removesuffix(".bytes")
            file, number = self.places[group]
            rows = self._handles[file].read_row_group(number, columns=[f"{name}.path"])
            values = rows[name].to_pylist() if name in rows.column_names else []
            self._paths = (group, [(row or {}).get("path") for row in values])
        return self._paths[1][place] if self._paths[1] else None

    def identity(self) -> bytes:
        files = "/".join(map(os.path.basename, self.files))
        return os.fsencode(f"{self.column}/{files}") + self.starts.tobytes()

    def stamps(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        groups = np.searchsorted(self.starts, indexes, side="right") - 1
        return self._handles.stamps[[self.places[group][0] for group in groups.tolist()]]

    def encoded(self, index: int) -> Encoded:
        group, row = self.locate(index)
        with _READING:
            images = self._group(group)
        buffer = images[row].as_buffer()
        if buffer is None:
            raise ImageError(f"{self.name(index)} holds no bytes, only a path")
        return np.frombuffer(buffer, dtype=np.uint8)

    def blocks(self) -> Blocks | None:
        if self._fits():
            return None
        sizes = torch.from_numpy(np.diff(self.starts))
        of = torch.repeat_interleave(torch.arange(len(self.places)), sizes)
        return Blocks(of, self.weights, self.cache_bytes // 2)

    def warm(self) -> None:
        for group in range(len(self.places) if self._fits() else 0):
            self._group(group)

    def _fits(self) -> bool:
        return sum(self.weights) <= self.cache_bytes

    def _group(self, group: int) -> Any:
        """The images of one row group, as an Arrow array of binary values."""
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


def read_parquet(request: Request, *, cache_bytes: int = CACHE_BYTES) -> ParquetSource:
    """The images of one split."""
    files = find_shards(request)
    ids = row_ids(files, request)
    shards = [_open(file, request, ids) for file in files]
    _require_alike(shards)
    ends = np.cumsum([len(shard.texts) for shard in shards])
    if ends[-1] == 0:
        raise request.wrong("no row in its Parquet files")

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return f"{files[at]} row {row - ends[at] + len(shards[at].texts)}"

    names = next((s.columns.classes for s in shards if s.columns.classes), [])
    texts = [text for shard in shards for text in shard.texts]
    labels, classes = numbered(texts, where, request, names)
    return ParquetSource(shards, labels, classes, cache_bytes)


def _open(file: Path, request: Request, ids: Collection[str]) -> _Shard:
    with opened_table(file) as table:
        schema = table.schema_arrow
        columns = find_columns(file, schema, request, ids)
        paths = [table.schema.column(i).path for i in range(len(table.schema.names))]
        leaf = columns.image if columns.image in paths else f"{columns.image}.bytes"
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
        weights = [group.column(paths.index(leaf)).total_uncompressed_size for group in groups]
        sizes = [group.num_rows for group in groups]
        kind, texts = "", [""] * sum(sizes)
        if columns.label is not None:
            labels = table.read(columns=[columns.label]).column(0)
            kind, texts = label_texts(labels, lambda row: f"{file} row {row}")
    layout = list(zip(sizes, weights, strict=True))
    return _Shard(file, schema.names, columns, leaf, kind, texts, layout)


def _require_alike(shards: Sequence[_Shard]) -> None:
    """Shards of one data set have one layout; one that says nothing of classes fits any."""
    first = shards[0]
    said = next((shard for shard in shards if shard.kind), first)
    named = next((shard for shard in shards if shard.columns.classes), first)
    for shard in shards:
        label, usual = (one.columns.label or "absent" for one in (shard, first))
        if shard.leaf != first.leaf:
            problem = f"its image column differs from that of {first.file}"
        elif label != usual:
            problem = f"its label column is {label}, that of {first.file} {usual}"
        elif shard.kind not in ("", said.kind):
            problem = f"its labels are {shard.kind}, those of {said.file} {said.kind}"
        elif shard.columns.classes not in ([], named.columns.classes):
            problem = f"its class names differ from those of {named.file}"
        else:
            continue
        raise ConfigError(f"{shard.file}: {problem}")
