# SPDX-License-Identifier: MIT
"""Parquet files as the Hugging Face hub publishes image data: ``image{bytes, path}``, ``label``.

Opening reads the footers and the labels; images come row group by row group. A split that fits
into ``CACHE_BYTES`` stays in memory after its first epoch and may be read in any order. Of a larger
one each process reads row groups of its own, and shuffles as many of them together as half the
cache holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Encoded, EncodedSource, ImageError, Labels
from mixmask_solo.data.sources.blocks import Blocks
from mixmask_solo.data.sources.columns import (
    class_names,
    image_column,
    label_column,
    label_values,
    path_in,
)
from mixmask_solo.data.sources.labels import UNLABELLED, Where, numbered
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.row_groups import CACHE_BYTES, RowGroups
from mixmask_solo.data.sources.shards import find_shards
from mixmask_solo.data.sources.tables import opened_table, row_ids

__all__ = ["ParquetSource", "read_parquet"]


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

    def blocks(self) -> Blocks | None:
        groups = self.groups
        if groups.fit:
            return None
        sizes = torch.from_numpy(np.diff(groups.starts))
        of = torch.repeat_interleave(torch.arange(len(groups)), sizes)
        return Blocks(of, groups.weights, groups.cache_bytes // 2)

    def warm(self) -> None:
        if self.groups.fit:
            for group in range(len(self.groups)):
                self.groups.group(group)


@dataclass(frozen=True)
class _Shard:
    file: Path
    columns: list[str]
    image: str
    label: str | None
    kind: str
    names: list[str]
    values: Labels | list[str]
    sizes: list[int]
    weights: list[int]


def read_parquet(request: Request, *, cache_bytes: int = CACHE_BYTES) -> ParquetSource:
    """The images of one split.

    Raises:
        ConfigError: for a path without files, an unreadable file, one of another layout, or a
            label that is none.
    """
    files = find_shards(request)
    ids = row_ids(files, request)
    shards = [_open(file, request, ids) for file in files]
    _require_alike(shards)
    groups = RowGroups(
        files,
        shards[0].image,
        [size for shard in shards for size in shard.sizes],
        [weight for shard in shards for weight in shard.weights],
        [(f, g) for f, shard in enumerate(shards) for g in range(len(shard.sizes))],
        cache_bytes=cache_bytes,
    )
    if groups.starts[-1] == 0:
        raise request.wrong("no row in its Parquet files")
    names = next((shard.names for shard in shards if shard.names), [])
    labels, classes = numbered(_joined(shards), _where(shards), request, names)
    source = ParquetSource(groups, labels, classes)
    source.columns = tuple(shards[0].columns)
    return source


def _open(file: Path, request: Request, ids: Collection[str]) -> _Shard:
    with opened_table(file) as table:
        schema = table.schema_arrow
        image = image_column(file, schema, request)
        label = label_column(file, schema, image, request, ids)
        kind: str = ""
        values: Labels | list[str] = np.full(table.metadata.num_rows, UNLABELLED)
        if label is not None:
            column = table.read(columns=[label]).column(0)
            kind, values = label_values(column, lambda row: f"{file} row {row}")
        path = path_in(schema, image)
        sizes, weights = _layout(table.metadata, path)
    names = class_names(schema, label)
    return _Shard(file, schema.names, path, label, kind, names, values, sizes, weights)


def _require_alike(shards: Sequence[_Shard]) -> None:
    """Shards of one data set have one layout; one that says nothing of classes fits any."""
    first = shards[0]
    said = next((shard for shard in shards if shard.kind), first)
    named = next((shard for shard in shards if shard.names), first)
    for shard in shards:
        if shard.image != first.image:
            raise ConfigError(f"{shard.file}: its image column differs from that of {first.file}")
        if shard.label != first.label:
            raise ConfigError(
                f"{shard.file}: its label column is {shard.label or 'absent'}, that of "
                f"{first.file} {first.label or 'absent'}"
            )
        if shard.kind not in ("", said.kind):
            raise ConfigError(
                f"{shard.file}: its labels are {shard.kind}, those of {said.file} {said.kind}"
            )
        if shard.names not in ([], named.names):
            raise ConfigError(f"{shard.file}: its class names differ from those of {named.file}")


def _joined(shards: Sequence[_Shard]) -> Labels | list[str]:
    """All labels; where some are text, those of a shard that says nothing are empty."""
    numbers = [shard.values for shard in shards if isinstance(shard.values, np.ndarray)]
    if len(numbers) == len(shards):
        return np.concatenate(numbers).astype(np.int64)
    return [
        text
        for shard in shards
        for text in (shard.values if isinstance(shard.values, list) else [""] * len(shard.values))
    ]


def _where(shards: Sequence[_Shard]) -> Where:
    ends = np.cumsum([len(shard.values) for shard in shards])

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return f"{shards[at].file} row {row - ends[at] + len(shards[at].values)}"

    return where


def _layout(metadata: Any, column: str) -> tuple[list[int], list[int]]:
    """Rows of each row group, and unpacked bytes of ``column`` in it."""
    sizes, weights = [], []
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        parts = [group.column(i) for i in range(group.num_columns)]
        sizes.append(group.num_rows)
        weights.append(sum(p.total_uncompressed_size for p in parts if p.path_in_schema == column))
    return sizes, weights
