# SPDX-License-Identifier: MIT
"""All runs below some folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry import index
from mixmask_solo.records.registry.record import RESULT, read_run
from mixmask_solo.records.registry.row import Keys, Row, flatten
from mixmask_solo.records.registry.scan import scan

DEFAULT = "trained_models"


def default_roots() -> list[Path]:
    """``trained_models``, or the current folder where there is none."""
    return [Path(DEFAULT) if Path(DEFAULT).is_dir() else Path()]


def read_rows(roots: Sequence[Path]) -> tuple[list[Row], list[str]]:
    """The runs below each root, by folder, and a line for every ``result.json`` that is damaged.

    Raises:
        ConfigError: for a root that is no folder, holds no run, or lies in another one.
    """
    _check(roots)
    rows: list[Row] = []
    damaged: list[str] = []
    for root in roots:
        found, problems = read_root(root)
        if not found and not problems:
            raise ConfigError(f"{root}: no run lies below it (no folder with a {RESULT})")
        rows += found
        damaged += problems
    return rows, damaged


def read_root(root: Path) -> tuple[list[Row], list[str]]:
    """The same of one root, with the index that lies there."""
    stamps = dict(sorted(scan(root)))
    known = index.load(root)
    shared = {tuple(keys.place): keys for keys in {entry[1] for entry in known.values()}}
    entries: dict[str, index.Entry] = {}
    changed: list[str] = []
    damaged: list[str] = []
    for folder, stamp in stamps.items():
        entry = known.get(folder)
        if entry is None or entry[0] != stamp:
            try:
                entry = (stamp, *_row(root / folder, shared))
            except ConfigError as error:
                damaged.append(str(error))
                continue
            changed.append(folder)
        entries[folder] = entry
    gone = known.keys() - entries.keys()
    if (changed or gone) and "." not in stamps:  # a run's folder is its own
        index.save(root, ((folder, entries[folder]) for folder in changed), gone)
    rows = [Row(root / folder, keys, values) for folder, (_, keys, values) in entries.items()]
    return rows, damaged


def _row(folder: Path, shared: dict[tuple[str, ...], Keys]) -> tuple[Keys, list[Any]]:
    flat = flatten(read_run(folder).result)
    names = tuple(flat)
    if names not in shared:
        shared[names] = Keys({name: i for i, name in enumerate(names)})
    return shared[names], list(flat.values())


def _check(roots: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for root in roots:
        if not root.is_dir():
            raise ConfigError(f"{root}: there is no such folder")
        place = root.resolve()
        for other, told in seen.items():
            if place == other:
                raise ConfigError(f"{told} and {root} are the same folder: give it once")
            if place in other.parents or other in place.parents:
                outer, inner = (root, told) if place in other.parents else (told, root)
                raise ConfigError(f"{inner} lies in {outer}: give {outer} alone")
        seen[place] = root
