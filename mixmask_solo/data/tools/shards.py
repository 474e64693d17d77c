# SPDX-License-Identifier: MIT
"""What images are called in a storage of another kind, and how its shards are written."""

import io
import itertools
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.class_folders import escaped, folder_name
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.scan import is_image
from mixmask_solo.data.sources.splits import split_word
from mixmask_solo.data.sources.webdataset import tar_name

# A shuffled epoch reads whole row groups; below this a disk's seeks begin to count.
ROW_GROUP_BYTES = 8 << 20
_LONGEST, _LONGEST_PART = 1000, 230  # a part of a path has at most 255 bytes, numbers included
_MAGIC = {
    b"\x89PNG": ".png",
    b"GIF8": ".gif",
    b"BM": ".bmp",
    b"RIFF": ".webp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}

Indexes = NDArray[np.int64]


class Names:
    """The path of each image of a source: ``class/file``, or ``file`` without labels.

    Storages keep the path an image was found at; where they do not, its number serves.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.folders = [folder_name(name) for name in source.classes]
        self._files: dict[str, int] = {}
        self._parents = set(self.folders)

    def path(self, index: int) -> str:
        """A relative path of slashes that is this image's alone, and leads to no hidden place.

        No file stands where another image wants a folder.
        """
        top, below = self._parts(index)
        *folders, file = below
        choices = itertools.chain(
            [[*top, *folders, file], [*top, *folders, f"{index:08d}_{file}"]],
            ([*top, f"{index:08d}_{attempt}_{file}"] for attempt in itertools.count()),
        )
        for parts in choices:
            path = "/".join(parts)
            above = list(itertools.accumulate(parts[:-1], "{}/{}".format))
            taken = self._files.get(path, index) != index or path in self._parents
            if not taken and not any(folder in self._files for folder in above):
                break
        self._files[path] = index
        self._parents.update(above)
        return path

    def _parts(self, index: int) -> tuple[list[str], list[str]]:
        """The folder of the class, if there is one, and what stands below it."""
        stored = (self.source.path(index) or "").split("/")
        below = [part for part in stored if part not in ("", ".", "..")]
        label, top = self.source.label(index), []
        if label >= 0 and self.source.classes:
            top = [self.folders[label]]
            below = below[below.index(top[0]) + 1 :] if top[0] in below[:-1] else below[-1:]
        below = [escaped(part, folder=part is not below[-1]) for part in below]
        # too long for a file system, or a folder that would be a split beside the list of none
        if (not top and split_word("".join(below[:1]))) or len("/".join(below)) > _LONGEST:
            below = below[-1:]
        suffix = "" if below and is_image(below[-1]) else self._suffix(index)
        if not below or any(len(os.fsencode(part)) > _LONGEST_PART for part in below):
            below = [f"{index:08d}{suffix or os.path.splitext(below[-1])[1]}"]
        elif suffix:
            below[-1] += suffix
        return top, below

    def _suffix(self, index: int) -> str:
        stored = self.source.encoded(index)
        head = b"" if stored is None else stored[:12].tobytes()
        if head[4:] in (b"ftypavif", b"ftypavis"):
            return ".avif"
        return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), ".jpg")


def stored_bytes(source: Source, index: int) -> Any:
    """The stored file of one image, as a buffer."""
    stored = source.encoded(index)
    if stored is None:
        raise ConfigError(f"{source.name(index)} is no stored file: there is nothing to convert")
    return stored.data


def stored_sizes(source: Source) -> Indexes:
    """(N,) bytes of each image as it is stored.

    Raises:
        ImageError, OSError: for an image that cannot be read.
        ConfigError: for a source that holds no encoded images.
    """

    def size(index: int) -> int:
        if isinstance(source, FolderSource):
            return os.path.getsize(source.name(index))
        return len(stored_bytes(source, index))

    return np.array([size(index) for index in range(len(source))], dtype=np.int64)


def cut(sizes: Indexes, limit: int, *, seed: int | None = None) -> list[Indexes]:
    """Numbers of the images of each shard.

    ``sizes`` (N,) and ``limit`` are bytes; one image above it still makes a shard. ``seed`` puts
    the images in a random order.
    """
    order = np.arange(len(sizes))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    starts, total = [0], 0
    for place, size in enumerate(sizes[order].tolist()):
        if place > starts[-1] and total + size > limit:
            starts.append(place)
            total = 0
        total += size
    return np.split(order, starts[1:]) if len(order) else []


def _write_parquet(file: Path, source: Source, names: Names, indexes: Indexes) -> None:
    """Rows ``image{bytes, path}`` and ``label``, as the Hugging Face hub has them.

    Nothing is compressed: images are already, and so a reader can map them into memory.
    """
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    fields = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if source.classes:
        features["label"] = {"names": source.classes, "_type": "ClassLabel"}
        fields.append(("label", pa.int64()))
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, metadata=meta)
    options: dict[str, Any] = {"compression": "none", "use_dictionary": False}
    rows: list[dict[str, Any]] = []
    size = 0
    with pq.ParquetWriter(file, schema, write_statistics=["label"], **options) as writer:
        for i in indexes.tolist():
            image = {"bytes": bytes(stored_bytes(source, i)), "path": _text(names.path(i))}
            rows.append({"image": image, "label": source.label(i)})
            size += len(image["bytes"])
            if size >= ROW_GROUP_BYTES or i == indexes[-1]:
                table = pa.Table.from_pylist(rows, schema=schema)
                writer.write_table(table, row_group_size=len(rows))
                rows, size = [], 0


def _write_tar(file: Path, source: Source, names: Names, indexes: Indexes) -> None:
    """Members ``key.jpg`` (or what it is) and ``key.cls``, the label, for each image."""
    used: set[str] = set()
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as archive:
        for i in indexes.tolist():
            key, _, suffix = tar_name(names.path(i)).rpartition(".")
            while key in used:  # a.jpg beside a.png: one key would make them one sample
                key = f"{key}_{i:08d}"
            used.add(key)
            parts = {suffix: stored_bytes(source, i)}
            if source.classes:
                parts["cls"] = str(source.label(i)).encode()
            for extension, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(content)  # owner and time stay zero: same images, same shard
                archive.addfile(member, io.BytesIO(content))


WRITERS = {"parquet": (".parquet", _write_parquet), "webdataset": (".tar", _write_tar)}


def _text(name: str) -> str:
    """Parquet's strings are UTF-8; file names need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
