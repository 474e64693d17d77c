# SPDX-License-Identifier: MIT
"""What is to be known of a JPEG file before DALI decodes it: its size, and that it is whole.

Crops are drawn before anything is decoded, hence the size. All markers are walked through, unlike
in Pillow's opening of a file: DALI 2.4's decoder writes outside of its buffers for some files that
have a second frame in what should be the first one's data. Whether what the markers say fits
together is Pillow's word: DALI decodes garbage without one where, say, more scans follow than the
frame has.

Pillow gets a sequential file without its compressed data, which is most of the work. It judges both
alike: libjpeg at most warns of damaged data, which Pillow does not hear, except where it holds a
marker (those stay) or has no end (there is one). Progressive files go to Pillow as they are:
libjpeg-turbo refuses data whose brightness adds up to more than 32 bits.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.data.sources.base import Encoded

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; all Huffman-coded
_TABLES = frozenset({0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})  # tables, APPn, comment
_PROGRESSIVE, _SCAN, _END, _FILL, _ADOBE = 0xC2, 0xDA, 0xD9, 0xFF, 0xEE
_TAIL = 64  # bytes that may follow the end mark


class Jpeg(NamedTuple):
    """A JPEG file with the markers of one frame from beginning to end."""

    size: tuple[int, int]  # height, width
    to_judge: bytes  # whether Pillow decodes this tells whether it decodes the file


def read_jpeg(encoded: Encoded) -> Jpeg | None:
    """A plain, complete-looking JPEG file, (bytes,) uint8.

    None for anything that is better left to Pillow: other formats, CMYK, colours stored as RGB,
    which not every decoder notices, 12 bits, arithmetic coding, files whose markers are not those
    of one frame from beginning to end.
    """
    if encoded[:2].tobytes() != b"\xff\xd8" or b"\xff\xd9" not in encoded[-_TAIL:].tobytes():
        return None
    data, at, end = encoded.data, 2, len(encoded) - 1
    size: tuple[int, int] | None = None
    progressive = False
    marks: NDArray[np.int64] | None = None  # found when the first scan is reached
    kept, since = b"", 0
    while at < end:
        if data[at] != _FILL:
            return None
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker == _END:
            if size is None or marks is None or at < len(encoded) - _TAIL:
                return None
            return Jpeg(size, bytes(data) if progressive else kept + data[since:])
        if at + 10 > end:
            return None
        if marker in _FRAMES:
            if size is not None or (size := _frame(data, at + 4)) is None:
                return None
            progressive = marker == _PROGRESSIVE
        elif marker == _ADOBE and data[at + 4 : at + 9] == b"Adobe":
            if at + 15 > end or data[at + 15] == 0:  # stored as RGB
                return None
        elif marker != _SCAN and marker not in _TABLES:
            return None
        length = (data[at + 2] << 8) | data[at + 3]
        if length < 2 or (marker == _SCAN and size is None):
            return None
        at += 2 + length
        if marker == _SCAN:
            marks = _marks(encoded) if marks is None else marks
            following = int(np.searchsorted(marks, at))
            if following == len(marks):
                return None
            kept += data[since:at]
            at = since = int(marks[following])
    return None


def is_whole(jpeg: Jpeg) -> bool:
    """Whether Pillow decodes a JPEG file to its end; if not, it may yet make do with the beginning.

    At an eighth of the size, which reads all that there is and is a fraction of the work.
    """
    try:
        with Image.open(io.BytesIO(jpeg.to_judge)) as image:
            image.decodermaxblock = len(jpeg.to_judge)  # at once: what follows the image counts
            image.draft(None, (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def _marks(encoded: Encoded) -> NDArray[np.int64]:
    """Where markers begin, if read as compressed data: neither stuffed bytes nor restarts."""
    found = np.flatnonzero(encoded[:-1] == _FILL)
    after = encoded[found + 1]
    return found[(after != 0) & (after != _FILL) & ((after & 0xF8) != 0xD0)]


def _frame(data: memoryview, at: int) -> tuple[int, int] | None:
    bits, components = data[at], data[at + 5]
    height, width = (data[at + 1] << 8) | data[at + 2], (data[at + 3] << 8) | data[at + 4]
    plain = bits == 8 and components in (1, 3) and height > 0 and width > 0
    plain &= bytes(data[at + 6 : at + 13 : 3]) != b"RGB"  # the numbers of its components
    return (height, width) if plain else None
