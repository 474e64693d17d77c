# SPDX-License-Identifier: MIT
"""Where each sample of a tar shard lies: an index beside the shard, made when it is asked for.

``shard.idx`` is what DALI's ``wds2idx`` writes (version 1.2: extension, offset, size and name of
each component, a line a sample), so that DALI's own readers may use it too. That format separates
by blanks, hence a blank within a name is written ``%20``.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import printable
from mixmask_solo.data.sources.side_file import known_index, remember

__all__ = ["Component", "Sample", "index_of", "scan"]

_VERSION = "v1.2"
_BLOCK = 512
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)


class Component(NamedTuple):
    """One file of a shard: extension, place of its first byte, number of bytes, path."""

    extension: str
    offset: int
    size: int
    path: str


Sample = list[Component]


def index_of(shard: Path) -> list[Sample]:
    """The samples of a shard: from the index beside it, else by reading the shard's headers.

    An index that is not known to be this shard's (another tool may have made it, or the shard was
    replaced) is made anew; where the folder cannot be written to, it is only kept in memory.

    Raises:
        ConfigError: for a file that is no tar archive, was cut off, or keeps parts of a sample
            apart.
    """
    known = known_index(shard)
    kept = None if known is None else _parsed(known, shard.stat().st_size)
    samples = scan(shard) if kept is None else kept
    _require_neighbours(shard, samples)
    if kept is None:
        lines = [" ".join(_words(part) for part in sample) for sample in samples]
        remember(shard, "\n".join([f"{_VERSION} {len(samples)}", *lines, ""]))
    return samples


def scan(shard: Path) -> list[Sample]:
    """The samples of a shard as its headers tell: neighbours of one name up to the first dot.

    Raises:
        ConfigError: for a file that is no tar archive, or was cut off.
    """
    try:
        with tarfile.open(shard, "r:") as archive:
            members = [m for m in archive if m.type in _PLAIN]
            end = archive.offset
    except (tarfile.TarError, OSError) as error:
        raise ConfigError(
            f"{shard} is no whole tar archive (compressed, or cut off?): {error}"
        ) from None
    _require_end(shard, end, members)
    samples: list[Sample] = []
    last = None
    for member in members:
        key, extension = split_name(member.name)
        if not key or key.endswith("/"):
            continue  # hidden files, as DALI has it
        if key != last:
            samples.append([])
            last = key
        samples[-1].append(Component(extension, member.offset_data, member.size, member.name))
    return samples


def split_name(path: str) -> tuple[str, str]:
    """Key and extension: before and after the first dot of the file's name."""
    dot = path.find(".", path.rfind("/") + 1)
    return (path, "") if dot < 0 else (path[:dot], path[dot + 1 :])


def _require_neighbours(shard: Path, samples: Sequence[Sample]) -> None:
    """Refuses what comes later for a sample that lacks it: labels packed behind all images."""
    closed: dict[str, Sample] = {}
    for sample in samples:
        earlier = closed.setdefault(split_name(sample[0].path)[0], sample)
        if earlier is sample:
            continue
        there = {part.extension for part in earlier}
        apart = next((part for part in sample if part.extension not in there), None)
        if apart is not None:
            raise ConfigError(
                f"{shard}: {printable(apart.path)} lies apart from {printable(earlier[0].path)}, "
                "but files of one sample have to be neighbours: pack the files sorted by name"
            )


def _require_end(shard: Path, end: int, members: Sequence[tarfile.TarInfo]) -> None:
    """Python's reader stops in silence at a damaged header: what follows has to be zeros."""
    total = shard.stat().st_size
    last = members[-1] if members else None
    if total == 0:
        raise ConfigError(f"{shard} is empty: not even an empty tar archive; fetch it again")
    with shard.open("rb") as file:
        file.seek(end)
        tail = file.read(_BLOCK)
    cut = last is not None and last.offset_data + last.size > total
    if cut or len(tail) < _BLOCK or tail.strip(b"\0"):
        raise ConfigError(
            f"{shard} is damaged or cut off after {len(members)} files (byte {min(end, total)} of "
            f"{total}): fetch it again"
        )


def _parsed(text: str, shard_bytes: int) -> list[Sample] | None:
    """The samples of an index; None for a text that is not understood or does not fit."""
    try:
        head, *lines = text.splitlines()
        version, count = head.split()
        samples = [_sample(line.split()) for line in lines]
    except ValueError:
        return None
    fits = all(part.offset + part.size <= shard_bytes for sample in samples for part in sample)
    return samples if version == _VERSION and int(count) == len(samples) and fits else None


def _sample(words: list[str]) -> Sample:
    if len(words) % 4:
        raise ValueError("four words a component")
    parts = zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True)
    return [
        Component(_blank(extension), int(offset), int(size), _blank(path))
        for extension, offset, size, path in parts
    ]


def _words(part: Component) -> str:
    return f"{_solid(part.extension)} {part.offset} {part.size} {_solid(part.path)}"


def _solid(name: str) -> str:
    """Without blanks of any kind, line breaks included."""
    return "".join(f"%{ord(c):02X}" if c.isspace() else c for c in name) or "-"


def _blank(name: str) -> str:
    return name.replace("%20", " ")
