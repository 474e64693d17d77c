# SPDX-License-Identifier: MIT
"""Stores a data set in another way: its files' bytes stay what they are."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.config import ConfigError
from mixmask_solo.data.module import digest
from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.class_folders import CLASSES_FILE
from mixmask_solo.data.sources.files import write_whole
from mixmask_solo.data.sources.storage import require_known
from mixmask_solo.data.tools.naming import Names
from mixmask_solo.data.tools.shards import WRITERS, Indexes, Record, cut, stored_bytes, stored_sizes

TARGETS = (*WRITERS, "image_folder")
_MEGABYTE = 1_000_000
_LONGEST = 255  # bytes of a folder's name

Advance = Callable[[int], None]


class Converted(NamedTuple):
    """What a conversion did: images in all, images that were there already, files written."""

    images: int
    kept: int
    files: int


def convert(
    splits: Mapping[str, Source],
    folder: Path,
    target: str,
    *,
    max_shard_mb: float = 500,
    seed: int | None = None,
    advance: Advance = lambda count: None,
) -> Converted:
    """Writes every split of a data set into ``folder``; called again, it goes on where it was.

    Args:
        splits: sources by name; files or folders are named after them.
        folder: new, empty, or of the same conversion.
        target: one of ``TARGETS``.
        max_shard_mb: size of a shard; image folders have none.
        seed: stores the images in a random order; None in theirs.
        advance: told how many more images are through.

    Raises:
        ConfigError: for an unknown target, or a folder that holds something else or is in use.
        ImageError: for a file that cannot be read.
    """
    classes = next(iter(splits.values())).classes
    _require_place(splits, target, classes)
    sizes = {name: stored_sizes(source) for name, source in splits.items()}
    facts = {
        "to": target,
        "labels": {name: digest(source) for name, source in splits.items()},
        "images": {name: len(source) for name, source in splits.items()},
        "bytes": {name: int(size.sum()) for name, size in sizes.items()},
        "shuffle": seed,
        "max_shard_mb": max_shard_mb,
    }
    record = Record(folder, facts)
    parts = []
    with record.alone():
        for name, source in splits.items():
            if target == "image_folder":
                below = folder / name if len(splits) > 1 else folder
                parts.append(_to_folder(source, below, sizes[name], advance))
            else:
                shards = cut(sizes[name], int(max_shard_mb * _MEGABYTE), seed=seed)
                parts.append(_to_shards(source, name, shards, target, record, advance))
        if target == "webdataset":
            _write_names(folder, classes)
    return Converted(*map(sum, zip(*parts, strict=True)))


def _to_shards(
    source: Source,
    split: str,
    shards: list[Indexes],
    target: str,
    record: Record,
    advance: Advance,
) -> Converted:
    folder, names = record.place.parent, Names(source)
    suffix, write = WRITERS[target]
    kept = files = 0
    for number, indexes in enumerate(shards):
        file = folder / f"{split}-{number:05d}-of-{len(shards):05d}{suffix}"
        if record.finished(file, len(indexes)):
            kept += len(indexes)
        else:
            temporary = folder / f".{file.name}.partial"
            write(temporary, source, names, indexes)
            record.finish(temporary, file, len(indexes))
            files += 1
        advance(len(indexes))
    return Converted(len(source), kept, files)


def _to_folder(source: Source, folder: Path, sizes: Indexes, advance: Advance) -> Converted:
    names = Names(source)
    files = 0
    if (source.labels >= 0).any():
        for name in names.folders:
            (folder / name).mkdir(parents=True, exist_ok=True)
        # with it labels and names come back, whatever the classes are called and hold
        _write_names(folder, names.folders)
    for i in range(len(source)):
        file = folder / names.path(i)
        if not (file.is_file() and file.stat().st_size == sizes[i]):
            file.parent.mkdir(parents=True, exist_ok=True)
            temporary = file.with_name(f".{i}.partial")
            temporary.write_bytes(stored_bytes(source, i))
            temporary.replace(file)
            files += 1
        advance(1)
    return Converted(len(source), len(source) - files, files)


def _require_place(splits: Mapping[str, Source], target: str, classes: list[str]) -> None:
    """Refuses what the target has no place for, before anything is written."""
    require_known(target, TARGETS, "--to")
    for name in classes if target == "webdataset" else ():
        if not name or name != name.strip() or not name.isprintable():
            raise ConfigError(
                f"class {name!r} cannot stand in {CLASSES_FILE}, one a line: choose --to parquet"
            )
    for split, source in splits.items() if target == "image_folder" else ():
        _require_folders(split, source)


def _require_folders(split: str, source: Source) -> None:
    unlabelled = int((source.labels < 0).sum())
    if 0 < unlabelled < len(source):
        have = "has" if unlabelled == 1 else "have"
        raise ConfigError(
            f"{unlabelled:,} of the {len(source):,} {split} images {have} no label, and folders of "
            "classes no place for them: choose --to parquet or webdataset"
        )
    twice = next((name for name, n in Counter(source.classes).items() if n > 1), None)
    if twice is not None:
        raise ConfigError(
            f"several classes are called {twice!r}, and would share a folder: choose --to parquet"
        )
    for name, folder in zip(source.classes, Names(source).folders, strict=True):
        if len(os.fsencode(folder)) > _LONGEST:
            raise ConfigError(f"class {name!r} is too long for a folder: choose --to parquet")


def _write_names(folder: Path, names: list[str]) -> None:
    if names:
        write_whole(folder / CLASSES_FILE, "".join(f"{name}\n" for name in names))
