# SPDX-License-Identifier: MIT
"""Where below a folder runs lie."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mixmask_solo.records.registry.record import RESULT


class Stamp(NamedTuple):
    """Of a ``result.json``: as long as it is the same, so is what the file holds."""

    mtime_ns: int
    size: int


def scan(root: Path) -> Iterator[tuple[str, Stamp]]:
    """The folders of runs below ``root``, relative to it, ``.`` for itself.

    A run's folder holds no runs, so that none is looked into: one call of the system a run. Links
    to folders are not followed and hidden folders are passed over, as is what cannot be read or
    vanishes meanwhile.
    """
    waiting = ["."]
    while waiting:
        folder = waiting.pop()
        place = os.path.join(root, folder)
        found = _stamp(os.path.join(place, RESULT))
        if found is not None:
            yield folder, found
            continue
        try:
            with os.scandir(place) as entries:
                names = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        waiting += [os.path.normpath(f"{folder}/{n}") for n in names if not n.startswith(".")]


def _stamp(file: str) -> Stamp | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None
