# SPDX-License-Identifier: MIT
"""Parquet files as the Hugging Face hub publishes image data: ``image{bytes, path}``, ``label``.

Opening reads the footers and the labels; images come row group by row group. A split that fits
into ``CACHE_BYTES`` stays in memory after its first epoch and may be read in any order. A larger
one is shuffled in windows: row groups in random order, and the rows of as many of them as half
the cache holds in random order among each other, so that each row group is read once an epoch
and process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.config.nearest import listing
from mixmask_solo.data.sources.base import Encoded, EncodedSource, ImageError, Labels
from mixmask_solo.data.sources.class_names import complete
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.row_groups import CACHE_BYTES, RowGroups
from mixmask_solo.data.sources.shards import find_shards

__all__ = ["ParquetSource", "read_parquet"]

_IMAGE = ("image", "img")
_LABEL = ("label", "labels", "fine_label")


class ParquetSource(EncodedSource):
    """Encoded images and labels of one or many Parquet files.

    Args:
        groups: the bytes.
        labels: (N,) integers.
        classes: names in the order of the labels; empty without labels.
    """

    def __init__(self, groups: RowGroups, labels: Labels, classes: Sequence[str]) -> None:
        super().__init__(labels, classes)
        self.groups = groups

    def encoded(self, index: int) -> Encoded:
        encoded = self.groups.get(index)
        if encoded is None:
            raise ImageError(f"{self.name(index)} holds no bytes, only a path")
        return encoded

    def name(self, index: int) -> str:
        group, place = self.groups.locate(index)
        file, number = self.groups.places[group]
        return f"{self.groups.files[file]} row {place} of row group {number}"

    def shuffled(self, generator: torch.Generator) -> Tensor:
        if self.groups.fit:
            return super().shuffled(generator)
        starts = self.groups.starts
        order = []
        for window in self._windows(torch.randperm(len(self.groups), generator=generator)):
            rows = torch.cat([torch.arange(int(starts[g]), int(starts[g + 1])) for g in window])
            order.append(rows[torch.randperm(len(rows), generator=generator)])
        return torch.cat(order)

    def _windows(self, groups: Tensor) -> list[list[int]]:
        """Cuts an order of row groups where half the cache is full: two windows overlap there."""
        windows: list[list[int]] = [[]]
        room = self.groups.cache_bytes // 2
        for group in groups.tolist():
            weight = self.groups.weights[group]
            if windows[-1] and weight > room:
                windows.append([])
                room = self.groups.cache_bytes // 2
            windows[-1].append(group)
            room -= weight
        return windows

    def warm(self) -> None:
        if self.groups.fit:
            for group in range(len(self.groups)):
                self.groups.group(group)


@dataclass(frozen=True)
class _Shard:
    image: str
    names: list[str]
    labels: Labels
    sizes: list[int]
    weights: list[int]


def read_parquet(request: Request, *, cache_bytes: int = CACHE_BYTES) -> ParquetSource:
    """The images of one split.

    Raises:
        ConfigError: for a path without files, an unreadable file, or one of another layout.
    """
    files = find_shards(request)
    shards = [_open(file, request.no_labels) for file in files]
    for file, shard in zip(files, shards, strict=True):
        if shard.image != shards[0].image:
            raise ConfigError(f"{file}: its image column differs from that of {files[0]}")
    groups = RowGroups(
        files,
        shards[0].image,
        [size for shard in shards for size in shard.sizes],
        [weight for shard in shards for weight in shard.weights],
        [(f, g) for f, shard in enumerate(shards) for g in range(len(shard.sizes))],
        cache_bytes=cache_bytes,
    )
    labels = np.concatenate([shard.labels for shard in shards])
    if len(labels) == 0:
        raise request.wrong("no row in its Parquet files")
    classes = list(request.classes or shards[0].names)
    if shards[0].names not in ([], classes):
        raise request.wrong("its classes are not those of the training images, or in another order")
    return ParquetSource(groups, labels, complete(classes, labels, request))


def _open(file: Path, no_labels: bool) -> _Shard:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, memory_map=True) as opened:
            schema = opened.schema_arrow
            image = _image_column(file, schema)
            label = None if no_labels else _first(_LABEL, schema.names)
            if label is None:
                labels = np.full(opened.metadata.num_rows, -1)
            else:
                column = opened.read(columns=[label])[label].fill_null(-1)
                labels = column.to_numpy()
            sizes, weights = _layout(opened.metadata, image)
            names = [] if label is None else _class_names(schema, label)
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ConfigError(f"{file} is not a readable Parquet file: {reason}") from None
    return _Shard(image, names, labels.astype(np.int64), sizes, weights)


def _layout(metadata: Any, column: str) -> tuple[list[int], list[int]]:
    """Rows of each row group, and unpacked bytes of ``column`` in it."""
    sizes, weights = [], []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        parts = [group.column(i) for i in range(group.num_columns)]
        sizes.append(group.num_rows)
        weights.append(sum(p.total_uncompressed_size for p in parts if p.path_in_schema == column))
    return sizes, weights


def _image_column(file: Path, schema: Any) -> str:
    import pyarrow as pa

    name = _first(_IMAGE, schema.names)
    if name is not None:
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return f"{name}.bytes"
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return name
    raise ConfigError(
        f"{file} has columns {listing(schema.names, 'and')}: "
        "give one named image, a struct with a field bytes or binary itself"
    )


def _class_names(schema: Any, label: str) -> list[str]:
    """The names that the ``datasets`` library leaves in the schema, if it wrote the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _first(wanted: Sequence[str], names: Sequence[str]) -> str | None:
    return next((name for name in wanted if name in names), None)
