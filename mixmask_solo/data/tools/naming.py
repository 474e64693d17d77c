# SPDX-License-Identifier: MIT
"""What an image is called in a storage of another kind."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.parquet import ParquetSource
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES
from mixmask_solo.data.sources.webdataset import TarSource

__all__ = ["Names", "tar_name", "untar_name"]

_MAGIC = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}


class Names:
    """The path of each image of a source: ``class/file``, or ``file`` without labels.

    Storages keep the path an image was found at; where they do not, its number serves.

    Args:
        source: the images.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._column: tuple[int, list[str | None]] = (-1, [])
        self._used: dict[str, int] = {}

    def path(self, index: int) -> str:
        """A relative path, made of slashes, that no other image of the source has."""
        stored = PurePosixPath(self._stored(index) or f"{index:08d}{self._suffix(index)}")
        parts = [part for part in stored.parts if part not in ("/", "..")]
        label = self.source.label(index)
        if label >= 0 and self.source.classes:
            name = self.source.classes[label].replace("/", "_")
            below = parts[parts.index(name) + 1 :] if name in parts[:-1] else parts[-1:]
            parts = [name, *below]
        path = "/".join(parts)
        if not path.lower().endswith(IMAGE_SUFFIXES):
            path += self._suffix(index)
        if self._used.setdefault(path, index) != index:
            head, _, file = path.rpartition("/")
            path = f"{head}/{index:08d}_{file}" if head else f"{index:08d}_{file}"
        return path

    def _stored(self, index: int) -> str | None:
        if isinstance(self.source, FolderSource):
            return os.fsdecode(bytes(self.source.paths[index]))
        if isinstance(self.source, TarSource):
            return untar_name(os.fsdecode(bytes(self.source.keys[index])))
        if isinstance(self.source, ParquetSource):
            return self._from_column(self.source, index)
        return None

    def _from_column(self, source: ParquetSource, index: int) -> str | None:
        import pyarrow.parquet as pq

        groups = source.groups
        if not groups.column.endswith(".bytes"):
            return None
        group, place = groups.locate(index)
        if self._column[0] != group:
            name = groups.column.removesuffix(".bytes")
            file, number = groups.places[group]
            with pq.ParquetFile(groups.files[file]) as opened:
                rows = opened.read_row_group(number, columns=[f"{name}.path"])
            values = rows[name].to_pylist() if name in rows.column_names else []
            self._column = (group, [(row or {}).get("path") for row in values])
        return self._column[1][place] if self._column[1] else None

    def _suffix(self, index: int) -> str:
        stored = self.source.encoded(index)
        head = b"" if stored is None else stored[:8].tobytes()
        return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), ".jpg")


def tar_name(path: str) -> str:
    """A path as the name of a shard's member.

    All up to a name's first dot is a sample's key there, so further dots are written ``%2E``.
    """
    head, slash, file = path.rpartition("/")
    stem, suffix = os.path.splitext(file)
    quoted = stem.replace("%", "%25").replace(".", "%2E")
    for blank in "\n\r\t\v\f":
        quoted = quoted.replace(blank, f"%{ord(blank):02X}")
    return f"{head}{slash}{quoted}{suffix}"


def untar_name(name: str) -> str:
    """The path that ``tar_name`` was given."""
    head, slash, file = name.rpartition("/")
    for escape in ("%2E", "%0A", "%0D", "%09", "%0B", "%0C", "%25"):
        file = file.replace(escape, chr(int(escape[1:], 16)))
    return f"{head}{slash}{file}"
