# SPDX-License-Identifier: MIT
"""Where each image of a tar shard lies, and what its label says: one index beside the shard.

``shard.index`` is JSON. It holds the shard's size and exact time of change, and is made anew where
those are not what lies there: another shard may have come with an older time.
"""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import printable
from mixmask_solo.data.sources.files import write_whole
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES

_FORMAT = 3
_IMAGES = {suffix[1:] for suffix in (*IMAGE_SUFFIXES, ".gif")}
_LABELS = ("cls", "json")


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


class _Part(NamedTuple):
    """One file of a sample, which is called as the file up to its first dot."""

    sample: str
    extension: str
    member: tarfile.TarInfo


def index_of(shard: Path, *, labels: bool = True) -> TarIndex:
    """What a shard holds: from the index beside it, else by reading the shard's headers and labels.

    An index without ``labels`` is made anew for them.
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
        write_whole(place, json.dumps({"of": stamp, "labels": labels} | index._asdict()))
    return index


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
