# SPDX-License-Identifier: MIT
"""What is known of a tar shard, kept beside it: ``shard.labels``.

A JSON object: the shard's size and exact time of change, a digest of the index beside it
(``shard.idx``), and the texts of the labels as far as they were read. If anything does not agree
with what lies there, all of it is made anew: another shard may have come with an older time.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["beside", "kept_labels", "known_index", "remember", "write_beside"]

_FORMAT = 2


def beside(shard: Path, suffix: str) -> Path:
    """The file of the same name with another ending."""
    return shard.with_suffix(suffix)


def known_index(shard: Path) -> str | None:
    """The text of the index beside a shard, if it is known to be this shard's."""
    try:
        text = beside(shard, ".idx").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    found = _read(shard)
    return text if found is not None and found["index"] == _digest(text) else None


def kept_labels(shard: Path, count: int) -> list[str] | None:
    """The texts of a shard's labels, one a sample; None where they have to be read."""
    labels = (_read(shard) or {}).get("labels")
    if not isinstance(labels, list) or len(labels) != count:
        return None
    return labels if all(isinstance(label, str) for label in labels) else None


def remember(shard: Path, index: str | None = None, labels: list[str] | None = None) -> None:
    """Writes what was found out about a shard as it lies there now.

    Args:
        shard: the file.
        index: text of its new index; None for the one that is known.
        labels: texts of its labels, if they were read.
    """
    if index is None:
        index = known_index(shard)
    else:
        write_beside(beside(shard, ".idx"), index)
    if index is not None:
        entry = {**_stamp(shard), "index": _digest(index), "labels": labels}
        write_beside(beside(shard, ".labels"), json.dumps(entry))


def write_beside(place: Path, text: str) -> None:
    """Writes a file at once and whole; does nothing where the folder is read-only."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{place.name}-", dir=place.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, place)
    except OSError:
        Path(temporary).unlink(missing_ok=True)


def _read(shard: Path) -> dict[str, Any] | None:
    """Our entry, if it is about the shard as it lies there."""
    try:
        found = json.loads(beside(shard, ".labels").read_bytes())
        now = _stamp(shard)
    except (OSError, ValueError):
        return None
    fresh = isinstance(found, dict) and all(found.get(key) == now[key] for key in now)
    return found if fresh and "index" in found else None


def _stamp(shard: Path) -> dict[str, int]:
    status = shard.stat()
    return {"format": _FORMAT, "bytes": status.st_size, "changed": status.st_mtime_ns}


def _digest(text: str) -> str:
    content = text.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(content, digest_size=16).hexdigest()
