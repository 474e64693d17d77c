# SPDX-License-Identifier: MIT
"""Small files: written whole or not at all, and read as JSON or as lines."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from mixmask_solo.config.errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A hidden name beside ``path`` to write to; the file takes its place once all is written."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Writes ``content`` so that no reader ever sees half of it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent, default=str) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one where there is no such file, or no object in it."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that holds names.

    Raises:
        ConfigError: for a file in another encoding than UTF-8, naming the first byte that is not.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8").removeprefix("\ufeff").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is no UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}; "
            "save it in UTF-8"
        ) from None


def plain_name(text: str) -> str:
    """``text`` as a name that no shell, glob or override has to be protected from."""
    return re.sub(r"[^\w.-]+", "-", text, flags=re.ASCII).strip("-.") or "run"
