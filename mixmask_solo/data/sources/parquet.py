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

import numpy as np
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Encoded, EncodedSource, ImageError, Labels
from mixmask_solo.data.sources.blocks import Blocks
from mixmask_solo.data.sources.columns import class_names, find_columns, opened_table, row_ids
from mixmask_solo.data.sources.label_values import label_texts, numbered
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.row_groups import CACHE_BYTES, RowGroups
from mixmask_solo.data.sources.shards import find_shards

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
    """One file: its columns, what they say of the classes, rows and bytes of its row groups."""

    file: Path
    columns: list[str]
    image: str
    label: str | None
    kind: str
    texts: list[str]
    names: list[str]
    groups: list[tuple[int, int]]


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
    layout = [shard.groups for shard in shards]
    groups = RowGroups(files, shards[0].image, layout, cache_bytes=cache_bytes)
    if groups.starts[-1] == 0:
        raise request.wrong("no row in its Parquet files")
    ends = np.cumsum([len(shard.texts) for shard in shards])

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return f"{files[at]} row {row - ends[at] + len(shards[at].texts)}"

    names = next((shard.names for shard in shards if shard.names), [])
    texts = [text for shard in shards for text in shard.texts]
    source = ParquetSource(groups, *numbered(texts, where, request, names))
    source.columns = tuple(shards[0].columns)
    return source


def _open(file: Path, request: Request, ids: Collection[str]) -> _Shard:
    with opened_table(file) as table:
        schema = table.schema_arrow
        image, label = find_columns(file, schema, request, ids)
        paths = [table.schema.column(i).path for i in range(len(table.schema.names))]
        leaf = image if image in paths else f"{image}.bytes"
        groups = [table.metadata.row_group(number) for number in range(table.num_row_groups)]
        kind, texts = "", [""] * table.metadata.num_rows
        if label is not None:
            column = table.read(columns=[label]).column(0)
            kind, texts = label_texts(column, lambda row: f"{file} row {row}")
        return _Shard(
            file,
            schema.names,
            leaf,
            label,
            kind,
            texts,
            class_names(schema, label),
            [(g.num_rows, g.column(paths.index(leaf)).total_uncompressed_size) for g in groups],
        )


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
