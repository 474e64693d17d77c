# SPDX-License-Identifier: MIT
"""Open files of a data set with thousands of shards, of which a process may hold only some open."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

__all__ = ["Handles"]

_MOST = 64  # a process may often have no more than 1,024 files open, sockets included


class Handles:
    """Files by number: opened when asked for, those used last kept, closed when nobody holds them.

    They are opened in the process that reads, so that the object can be pickled or forked.

    Args:
        files: in order.
        open_file: a function of a module, that opens one.
    """

    def __init__(self, files: Sequence[str], open_file: Callable[[str], Any]) -> None:
        self.files = files
        self.open_file = open_file
        self._owner = -1

    def __getitem__(self, number: int) -> Any:
        if self._owner != os.getpid():
            opened = lru_cache(maxsize=_MOST)(lambda n: self.open_file(self.files[n]))
            self._kept, self._owner = opened, os.getpid()
        return self._kept(number)

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "open_file": self.open_file, "_owner": -1}
