# SPDX-License-Identifier: MIT
"""Stores a data set in another way: its files' bytes stay what they are."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from mixmask_solo.config import ConfigError, require_known
from mixmask_solo.config.files import read_json, write_json
from mixmask_solo.data.identity import digest
from mixmask_solo.data.sources import Source
from mixmask_solo.data.sources.class_folders import CLASSES_FILE
from mixmask_solo.data.tools.shards import WRITERS, Indexes, Names, cut, stored_bytes, stored_sizes

TARGETS = (*WRITERS, "image_folder")
_MEGABYTE = 1_000_000
_RECORD = ".mixmask-convert.json"

Advance = Callable[[int], None]


class Record:
    """What a conversion has finished, kept in its destination ``folder`` so that it can go on.

    ``facts`` make it the same conversion.

    Raises:
        ConfigError: when the folder holds something else.
    """

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.place, self.facts = folder / _RECORD, facts
        known = read_json(self.place)
        self.done: dict[str, list[int]] = known.get("done", {})
        if not known and folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: give a new or empty folder")
        for key, now in facts.items() if known else ():
            before = known["facts"].get(key)
            if before != now:
                raise ConfigError(
                    f"{folder} holds another conversion ({key} {before!r}, now {now!r}): "
                    "give a new or empty folder"
                )
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

    def _save(self) -> None:
        write_json(self.place, {"facts": self.facts, "done": self.done})


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
        max_shard_mb: size of a shard; image folders have none.
        seed: stores the images in a random order; None in theirs.

    Raises:
        ConfigError: for an unknown target, or a folder that holds something else or is in use.
        ImageError, OSError: for an image that cannot be read.
    """
    classes = next(iter(splits.values())).classes
    _require_place(splits, target, classes)
    sizes = {name: stored_sizes(source) for name, source in splits.items()}
    facts = {
        "to": target,
        "labels": {name: digest(source) for name, source in splits.items()},
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
    require_known("--to", target, TARGETS)
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


def _write_names(folder: Path, names: list[str]) -> None:
    if names:
        text = "".join(f"{name}\n" for name in names)
        (folder / CLASSES_FILE).write_text(text, "utf-8", "surrogateescape")
