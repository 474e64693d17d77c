# SPDX-License-Identifier: MIT
"""Which images go into which shard, how one is written, and which are done."""

import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.data.sources import ImageError, Source
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.sources.webdataset import tar_name
from mixmask_solo.data.tools.naming import Names

# A shuffled epoch reads whole row groups; below this a disk's seeks begin to count.
ROW_GROUP_BYTES = 8 << 20
_RECORD = ".mixmask-convert.json"

Indexes = NDArray[np.int64]


def stored_bytes(source: Source, index: int) -> Any:
    """The stored file of one image, as a buffer."""
    stored = source.encoded(index)
    if stored is None:
        raise ConfigError(f"{source.name(index)} is no stored file: there is nothing to convert")
    return stored.data


def stored_sizes(source: Source) -> Indexes:
    """(N,) bytes of each image as it is stored.

    Raises:
        ImageError: for an image that cannot be read.
        ConfigError: for a source that holds no encoded images.
    """

    def size(index: int) -> int:
        if not isinstance(source, FolderSource):
            return len(stored_bytes(source, index))
        try:
            return os.path.getsize(source.name(index))
        except OSError as error:
            raise ImageError(f"{source.name(index)} cannot be read: {error}") from error

    return np.array([size(index) for index in range(len(source))], dtype=np.int64)


def cut(sizes: Indexes, limit: int, *, seed: int | None = None) -> list[Indexes]:
    """Numbers of the images of each shard.

    Args:
        sizes: (N,) bytes.
        limit: bytes of images in a shard; one larger image still makes one.
        seed: puts the images in a random order; None keeps theirs.
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


class Record:
    """What a conversion has finished, kept in its destination ``folder`` so that it can go on.

    ``facts`` make it the same conversion.

    Raises:
        ConfigError: when the folder holds something else.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.place = folder / _RECORD
        self.facts = facts
        self.done: dict[str, list[int]] = {}
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file: give a new or empty folder")
        if self.place.is_file():
            self._load(folder)
        elif folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: give a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        self._save()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While one process writes into the folder, another is refused."""
        try:
            with FileLock(self.place.with_suffix(".lock"), timeout=0):
                yield
        except Timeout:
            raise ConfigError(
                f"another conversion is writing into {self.place.parent}: wait for its end"
            ) from None

    def finished(self, file: Path, images: int) -> bool:
        """Whether a file is there with the images and bytes that it was finished with."""
        return file.is_file() and self.done.get(file.name) == [images, file.stat().st_size]

    def finish(self, temporary: Path, file: Path, images: int) -> None:
        """Gives a whole file its name, and remembers it."""
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(file)
        self.done[file.name] = [images, file.stat().st_size]
        self._save()

    def _load(self, folder: Path) -> None:
        try:
            known = json.loads(self.place.read_text())
            facts, self.done = known["facts"], known["done"]
        except (OSError, ValueError, KeyError, TypeError):
            raise ConfigError(f"{self.place} is damaged: remove {folder} and start anew") from None
        for key, value in self.facts.items():
            if facts.get(key) != value:
                raise ConfigError(
                    f"{folder} holds another conversion ({key} {facts.get(key)!r}, now {value!r}): "
                    "give a new or empty folder"
                )

    def _save(self) -> None:
        write_json(self.place, {"facts": self.facts, "done": self.done})


def _text(name: str) -> str:
    """Parquet's strings are UTF-8; file names need not be."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
