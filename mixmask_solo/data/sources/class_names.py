# SPDX-License-Identifier: MIT
"""Lists of class names beside the images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mixmask_solo.config import ConfigError

__all__ = ["known_names", "read_lines"]


def known_names(lines: Iterable[str]) -> list[str]:
    """The names of a list of classes, one a line."""
    return [line.strip() for line in lines if line.strip()]


def read_lines(place: Path) -> list[str]:
    """The lines of a text file that holds names.

    Raises:
        ConfigError: for a file in another encoding than UTF-8, naming the first byte that is not.
    """
    content = place.read_bytes()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{place} is no UTF-8 text: byte 0x{content[error.start]:02x} at offset {error.start}; "
            "save it in UTF-8"
        ) from None
    return text.removeprefix("\ufeff").splitlines()
