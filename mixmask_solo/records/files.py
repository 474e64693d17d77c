# SPDX-License-Identifier: MIT
"""Small files that are whole or absent."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden name beside ``path`` to write to; the file takes its place once all is written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` so that no reader ever sees half of it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no such file, or no object in it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def plain_name(text: str) -> str:
    """``text`` as a name that no shell, glob or override has to be protected from."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-.") or "run"
