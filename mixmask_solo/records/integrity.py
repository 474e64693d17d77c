# SPDX-License-Identifier: MIT
"""Is a checkpoint, bit for bit, the file that was written?

PyTorch reads a zip archive without comparing its checksums, so that nearly every flipped bit is
loaded as another weight. Our files carry a CRC-32 of themselves in the archive's comment, which
finds every single flipped bit, padding included; of others' files the archive's own checksums are
used.
"""

import re
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

_END = b"PK\x05\x06"  # the zip record that ends the file, 22 bytes and the comment
_END_SIZE = 22
_MARK = b"mixmask-crc32:"
_SIZE = len(_MARK) + 8
_CHUNK = 1 << 20


def seal(path: Path) -> None:
    """Puts the CRC-32 of a file into its comment; what is no plain zip archive stays as it is."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_SIZE))
        end = file.read()
        if not end.startswith(_END) or not end.endswith(b"\0\0"):
            return
        comment = _MARK + b"%08x" % _crc(file, size)
        file.seek(size - 2)
        file.write(len(comment).to_bytes(2, "little") + comment)


def is_sealed(path: Path) -> bool:
    """Whether the file ends in a checksum of ours."""
    return _stored(path) is not None


def defect(path: Path) -> str:
    """What is wrong with the file; an empty text where nothing is, or nothing could tell."""
    stored = _stored(path)
    if stored is not None:
        return "" if checksum(path) == stored else "its checksum does not fit its content"
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, zlib.error):
        # PyTorch's older format is no zip archive and has no checksums at all
        with path.open("rb") as file:
            return "it is not whole" if file.read(2) == b"PK" else ""
    return f"the checksum of {member} does not fit its content" if member else ""


def checksum(path: Path) -> int:
    """CRC-32 of a file, the same before and after it was sealed."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        return _crc(file, size - _SIZE if is_sealed(path) else size)


def _stored(path: Path) -> int | None:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_SIZE - _SIZE))
        tail = file.read()
    end, comment = tail[:_END_SIZE], tail[_END_SIZE:]
    found = re.fullmatch(re.escape(_MARK) + rb"([0-9a-f]{8})", comment)
    whole = end.startswith(_END) and end.endswith(_SIZE.to_bytes(2, "little"))
    return int(found[1], 16) if found and whole else None


def _crc(file: BinaryIO, size: int) -> int:
    """Of the first ``size`` bytes with the length of the comment taken for 0."""
    file.seek(0)
    crc, left = 0, size - 2
    while left > 0 and (chunk := file.read(min(_CHUNK, left))):
        crc, left = zlib.crc32(chunk, crc), left - len(chunk)
    return zlib.crc32(b"\0\0", crc)
