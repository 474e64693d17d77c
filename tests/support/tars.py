# SPDX-License-Identifier: MIT
"""Tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

__all__ = ["tar"]


def tar(path: Path, members: list[tuple[str, bytes]], fmt: int = tarfile.PAX_FORMAT) -> Path:
    """A shard with these files, given as names and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=fmt) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
