# SPDX-License-Identifier: MIT
"""WebDataset: tar shards in which files of one name up to the first dot make up a sample.

The image is the file with an image's extension. A sample without one, but with several such as
``a.v2.jpg`` and ``a.v3.jpg``, holds several images. The label is what ``.cls`` says, or ``label``
in ``.json``, of the image's own name or else of the sample. Names of the classes may stand in
``classes.txt`` beside the shards, one a line. What a shard holds is kept beside it, as
``shard.index``.
"""

import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError
from mixmask_solo.config.files import write_json
from mixmask_solo.data.sources.base import Encoded, ImageError, Labels, Request, Source, printable
from mixmask_solo.data.sources.class_folders import listed_names
from mixmask_solo.data.sources.label_values import numbered
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES
from mixmask_solo.data.sources.shards import Handles, find_shards

_FORMAT = 3  # of the index
_IMAGES = {suffix[1:] for suffix in IMAGE_SUFFIXES}
_LABELS = ("cls", "json")
_QUOTED = {ord(c): f"%{ord(c):02X}" for c in "%.\n\r\t\v\f"}


class TarImage(NamedTuple):
    """One image of a shard: path, first byte, number of bytes, and the text of its label."""

    path: str
    offset: int
    size: int
    label: str


class TarIndex(NamedTuple):
    """The images of a shard in order, and the extensions of all that was looked at for them."""

    images: list[TarImage]
    extensions: list[str]


class TarSource(Source):
    """Encoded images within tar shards; of each, its shard's number and its place there."""

    def __init__(
        self,
        shards: Sequence[Path],
        images: Sequence[tuple[int, TarImage]],
        labels: Labels,
        classes: Sequence[str],
    ) -> None:
        super().__init__(labels, classes)
        self.shards = [os.fspath(shard) for shard in shards]
        self.places = np.array([(shard, one.offset, one.size) for shard, one in images], np.int64)
        self.keys = np.array([os.fsencode(image.path) for _, image in images], dtype=np.bytes_)
        self._handles = Handles(self.shards, partial(open, mode="rb", buffering=0))

    def name(self, index: int) -> str:
        return f"{self.shards[self.places[index, 0]]} {os.fsdecode(bytes(self.keys[index]))}"

    def path(self, index: int) -> str:
        return untar_name(os.fsdecode(bytes(self.keys[index])))

    def identity(self) -> bytes:
        files = "/".join(map(os.path.basename, self.shards))
        return os.fsencode(files) + self.places.tobytes()

    def stamps(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._handles.stamps[self.places[indexes, 0]]

    def encoded(self, index: int) -> Encoded:
        shard, offset, size = self.places[index].tolist()
        try:
            handle = self._handles[shard]
            content = os.pread(handle.fileno(), size, offset)
        except OSError as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error}") from error
        if len(content) < size:
            raise ImageError(f"{self.name(index)} cannot be read: its shard was cut off")
        return np.frombuffer(content, dtype=np.uint8)


def read_webdataset(request: Request) -> TarSource:
    """The images of one split."""
    shards = find_shards(request, ".tar", "tar shard")
    listed = listed_names(shards[0].parent)
    indexes = [index_of(shard, labels=not request.no_labels) for shard in shards]
    images = [(number, image) for number, index in enumerate(indexes) for image in index.images]
    if not images:
        raise request.wrong("no image in its tar shards")

    def where(row: int) -> str:
        number, image = images[row]
        return f"{shards[number]}: {printable(image.path)}"

    texts = ["" if request.no_labels else image.label for _, image in images]
    labels, classes = numbered(texts, where, request, listed)
    source = TarSource(shards, images, labels, classes)
    source.columns = tuple(sorted({name for index in indexes for name in index.extensions}))
    return source


def tar_name(path: str) -> str:
    """A path as the name of a shard's member, in which a sample's key ends at the first dot."""
    head, slash, file = path.rpartition("/")
    stem, suffix = os.path.splitext(file)
    return f"{head}{slash}{stem.translate(_QUOTED)}{suffix}"


def untar_name(name: str) -> str:
    """The path that ``tar_name`` was given."""
    head, slash, file = name.rpartition("/")
    plain = {quoted: chr(code) for code, quoted in _QUOTED.items()}
    return head + slash + re.sub("|".join(plain), lambda found: plain[found[0]], file)


def index_of(shard: Path, *, labels: bool = True) -> TarIndex:
    """What a shard holds: from the index beside it, else by reading the shard's headers and labels.

    An index is made anew where it has no ``labels``, or the shard another size or exact time of
    change: another shard may have come with an older time.
    """
    place, status = shard.with_suffix(".index"), shard.stat()
    stamp = {"format": _FORMAT, "bytes": status.st_size, "changed": status.st_mtime_ns}
    try:
        known = json.loads(place.read_bytes())
        if known["of"] == stamp and known["labels"] >= labels:
            return TarIndex([TarImage(*image) for image in known["images"]], known["extensions"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    index = _scan(shard, labels)
    with suppress(OSError):
        write_json(place, {"of": stamp, "labels": labels} | index._asdict(), indent=None)
    return index


class _Part(NamedTuple):
    """One file of a sample, which is called as the file up to its first dot."""

    sample: str
    extension: str
    member: tarfile.TarInfo


def _scan(shard: Path, labels: bool) -> TarIndex:
    images: list[TarImage] = []
    extensions: set[str] = set()
    first: dict[str, list[_Part]] = {}
    with _opened(shard) as archive:
        for name, parts in groupby(_parts(archive), key=lambda part: part.sample):
            sample = list(parts)
            _require_neighbours(shard, sample, first.setdefault(name, sample))
            for image, said in _images(sample):
                label = _label(shard, archive, said[0]) if labels and said else ""
                member = image.member
                images.append(TarImage(member.name, member.offset_data, member.size, label))
                extensions.update(part.extension for part in (image, *said))
    return TarIndex(images, sorted(extensions))


@contextmanager
def _opened(shard: Path) -> Iterator[tarfile.TarFile]:
    """Python's reader stops in silence at a damaged header: what follows it has to be zeros."""
    total = shard.stat().st_size
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            yield archive
            end, files = archive.offset, [member for member in archive if member.isreg()]
            file.seek(end)
            tail = file.read(tarfile.BLOCKSIZE)
    except (tarfile.TarError, OSError) as error:
        raise ConfigError(
            f"{shard} is no whole tar archive (compressed, or cut off?): {error}"
        ) from None
    cut = files and files[-1].offset_data + files[-1].size > total
    if cut or len(tail) < tarfile.BLOCKSIZE or tail.strip(b"\0"):
        raise ConfigError(
            f"{shard} is damaged or cut off after {len(files)} files (byte {min(end, total)} of "
            f"{total}): fetch it again"
        )


def _parts(archive: tarfile.TarFile) -> Iterator[_Part]:
    for member in archive:
        folder, slash, file = member.name.rpartition("/")
        name, _, extension = file.partition(".")
        if member.isreg() and not member.issparse() and name:  # without one it is hidden
            yield _Part(f"{folder}{slash}{name}", extension.lower(), member)


def _require_neighbours(shard: Path, sample: list[_Part], first: list[_Part]) -> None:
    """Refuses what comes later for a sample that lacks it: labels packed behind all images."""
    there = {part.extension for part in first}
    for part in sample:
        if part.extension not in there:
            raise ConfigError(
                f"{shard}: {printable(part.member.name)} lies apart from "
                f"{printable(first[0].member.name)}, but files of one sample have to be "
                "neighbours: pack the files sorted by name"
            )


def _images(sample: list[_Part]) -> Iterator[tuple[_Part, list[_Part]]]:
    """The images of a sample, each with the files that may hold its label, best first."""
    parts = {part.extension: part for part in sample}
    exact = [part for part in sample if part.extension in _IMAGES]
    for image in exact[:1] or sample:
        middle, _, kind = image.extension.rpartition(".")
        if kind in _IMAGES:
            names = [f"{middle}.{kind}" for kind in _LABELS if middle] + list(_LABELS)
            yield image, [parts[name] for name in names if name in parts]


def _label(shard: Path, archive: tarfile.TarFile, part: _Part) -> str:
    content = archive.extractfile(part.member)
    try:
        text = content.read().decode("utf-8") if content else ""
        if part.extension.endswith("json"):
            value = json.loads(text)
            label = value.get("label") if isinstance(value, dict) else None
            if not isinstance(label, (str, int, float, type(None))):
                raise ValueError(f"it is {type(label).__name__}")
            text = "" if label is None else str(label)
    except ValueError as error:
        name = printable(part.member.name)
        raise ConfigError(f"{shard}: {name} holds no label: {error}") from None
    return " ".join(text.split())
