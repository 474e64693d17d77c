# SPDX-License-Identifier: MIT
"""One shard of each kind, written from stored bytes that stay as they are."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mixmask_solo.data.sources import Source
from mixmask_solo.data.tools.naming import Names, tar_name
from mixmask_solo.data.tools.plan import Indexes, stored_bytes

__all__ = ["write_parquet", "write_tar"]

# A shuffled epoch reads whole row groups; below this a disk's seeks begin to count.
ROW_GROUP_BYTES = 8 << 20


def write_parquet(file: Path, source: Source, names: Names, indexes: Indexes) -> None:
    """Rows ``image{bytes, path}`` and ``label``, as the Hugging Face hub has them.

    Nothing is compressed: images are already, and so a reader can map them into memory.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    labelled = bool(source.classes)
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    fields = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if labelled:
        features["label"] = {"names": source.classes, "_type": "ClassLabel"}
        fields.append(("label", pa.int64()))
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, metadata=meta)
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    with pq.ParquetWriter(file, schema, write_statistics=["label"], **options) as writer:
        for rows in _groups(source, indexes):
            images = [
                {"bytes": bytes(stored_bytes(source, i)), "path": _text(names.path(i))}
                for i in rows
            ]
            columns: dict[str, Any] = {"image": images}
            if labelled:
                columns["label"] = [source.label(i) for i in rows]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(rows))


def write_tar(file: Path, source: Source, names: Names, indexes: Indexes) -> None:
    """Members ``key.jpg`` (or what it is) and ``key.cls``, the label, for each image."""
    used: set[str] = set()
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for i in indexes.tolist():
            key, _, suffix = tar_name(names.path(i)).rpartition(".")
            while key in used:  # a.jpg beside a.png: one key would make them one sample
                key = f"{key}_{i:08d}"
            used.add(key)
            _add(archive, f"{key}.{suffix}", stored_bytes(source, i))
            if source.classes:
                _add(archive, f"{key}.cls", str(source.label(i)).encode())


def _add(archive: tarfile.TarFile, name: str, content: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)  # owner and time stay zero: the same images make the same shard
    archive.addfile(member, io.BytesIO(content))


def _groups(source: Source, indexes: Indexes) -> Iterator[list[int]]:
    rows: list[int] = []
    total = 0
    for i in indexes.tolist():
        rows.append(i)
        total += len(stored_bytes(source, i))
        if total >= ROW_GROUP_BYTES:
            yield rows
            rows, total = [], 0
    if rows:
        yield rows


def _text(name: str) -> str:
    """Parquet's strings are UTF-8; file names need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
