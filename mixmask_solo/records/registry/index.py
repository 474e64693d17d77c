# SPDX-License-Identifier: MIT
"""What was read of runs, kept in one file of their root, so that 10,000 are listed at once.

It may be deleted at any time: the runs' folders are the truth, and what is not as it was when it
was read is read anew.
"""

import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from mixmask_solo.records.registry.row import Keys
from mixmask_solo.records.registry.scan import Stamp

INDEX = ".mixmask-runs.sqlite"
_VERSION = 1  # of the tables, and of what a row is made of
_TABLES = """
CREATE TABLE keys (id INTEGER PRIMARY KEY, names TEXT UNIQUE);
CREATE TABLE runs (folder BLOB PRIMARY KEY, mtime_ns INTEGER, size INTEGER, keys INTEGER,
                   content TEXT);
"""
_FRESH = 2 * 10**9  # ns; a younger file may change again without another time of change
_PATIENCE = 2.0  # seconds for another process that writes

Entry = tuple[Stamp, Keys, list[Any]]


def load(root: Path) -> dict[str, Entry]:
    """Folders relative to ``root``, and what is known of each; nothing without a usable index."""
    file = root / INDEX
    if not file.is_file():
        return {}
    try:
        with _open(file) as base:
            names = base.execute("SELECT id, names FROM keys").fetchall()
            rows = base.execute("SELECT folder, mtime_ns, size, keys, content FROM runs").fetchall()
        keys = {n: Keys({key: i for i, key in enumerate(json.loads(text))}) for n, text in names}
        contents = json.loads(f"[{','.join(row[-1] for row in rows)}]")  # one call is much faster
        return {
            os.fsdecode(folder): (Stamp(mtime_ns, size), keys[number], values)
            for (folder, mtime_ns, size, number, _), values in zip(rows, contents, strict=True)
        }
    except sqlite3.OperationalError:  # another process has it, or it cannot be read
        return {}
    except (sqlite3.DatabaseError, ValueError, KeyError, TypeError):
        _discard(file)
        return {}


def save(root: Path, changed: Iterable[tuple[str, Entry]], gone: Collection[str]) -> None:
    """Adds and removes runs; where nothing can be written there, they are read anew each time."""
    file, now = root / INDEX, time.time_ns()
    with suppress(sqlite3.OperationalError):
        try:
            with _open(file) as base, base:
                base.execute("BEGIN IMMEDIATE")
                names = [(os.fsencode(folder),) for folder in gone]
                base.executemany("DELETE FROM runs WHERE folder = ?", names)
                for folder, (stamp, keys, values) in changed:
                    if now - stamp.mtime_ns > _FRESH:
                        row = (os.fsencode(folder), *stamp, _number(base, keys), _text(values))
                        base.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            _discard(file)


@contextmanager
def _open(file: Path) -> Iterator[sqlite3.Connection]:
    """The tables, new where they are of another version."""
    with closing(sqlite3.connect(file, timeout=_PATIENCE, isolation_level=None)) as base:
        base.execute("PRAGMA synchronous = OFF")  # a crash costs no more than reading again
        if base.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            with base:
                base.execute("BEGIN IMMEDIATE")
                if base.execute("PRAGMA user_version").fetchone() != (_VERSION,):
                    _begin(base)
        yield base


def _begin(base: sqlite3.Connection) -> None:
    for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        base.execute(f'DROP TABLE "{name}"')
    for table in _TABLES.split(";")[:-1]:
        base.execute(table)
    base.execute(f"PRAGMA user_version = {_VERSION}")


def _number(base: sqlite3.Connection, keys: Keys) -> int:
    names = _text(list(keys.place))
    base.execute("INSERT OR IGNORE INTO keys (names) VALUES (?)", (names,))
    return int(base.execute("SELECT id FROM keys WHERE names = ?", (names,)).fetchone()[0])


def _text(values: list[Any]) -> str:
    return json.dumps(values, separators=(",", ":"))


def _discard(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
