# SPDX-License-Identifier: MIT
"""Files as they are opened, read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from mixmask_solo.config import ConfigError

_MOST = 64  # a process may often have no more than 1,024 files open, sockets included


class Handles:
    """Open files by number, those used last: there may be more than a process may have open.

    The process that reads opens them, so that the object can be pickled or forked.
    """

    def __init__(self, files: Sequence[str], open_file: Callable[[str], Any]) -> None:
        self.files, self.open_file, self._owner = files, open_file, -1

    def __getitem__(self, number: int) -> Any:
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._opened = lru_cache(maxsize=_MOST)(self.open_file)
        return self._opened(self.files[number])

    def __reduce__(self) -> tuple[type[Handles], tuple[Any, ...]]:
        return Handles, (self.files, self.open_file)


def read_lines(place: Path) -> list[str]:
    """The lines of a text file that holds names.

    Raises:
        ConfigError: for a file in another encoding than UTF-8, naming the first byte that is not.
    """
    content = place.read_bytes()
    try:
        return content.decode("utf-8").removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{place} is no UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}; "
            "save it in UTF-8"
        ) from None


def write_whole(place: Path, text: str) -> None:
    """Writes a file such that others find all of it or none.

    Raises:
        OSError: where the folder cannot be written to.
    """
    temporary = place.with_name(f".{place.name}-{uuid4().hex}.partial")
    try:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
