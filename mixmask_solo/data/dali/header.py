# SPDX-License-Identifier: MIT
"""What the first bytes of a JPEG file tell: its size, and whether DALI decodes it as Pillow does.

Parsed here because Pillow's own opening of a file costs over ten times as much, and crops are drawn
before anything is decoded.
"""

from __future__ import annotations

from mixmask_solo.data.sources.base import Encoded

__all__ = ["jpeg_size"]

_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended, progressive; all Huffman-coded
_OTHER_FRAMES = frozenset({0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SCAN, _END, _FILL = 0xDA, 0xD9, 0xFF
_TAIL = 64  # bytes at the end of a file in which its end mark has to be


def jpeg_size(encoded: Encoded) -> tuple[int, int] | None:
    """Height and width of a plain, complete-looking JPEG file.

    Args:
        encoded: (bytes,) uint8.

    Returns:
        None for anything that is better left to Pillow: other formats, CMYK, 12 bits, arithmetic
        coding, files that do not end as JPEG files do.
    """
    head = encoded[:2].tobytes()
    if head != b"\xff\xd8" or b"\xff\xd9" not in encoded[-_TAIL:].tobytes():
        return None
    data, at, end = encoded.data, 2, len(encoded) - 9
    while at < end:
        if data[at] != _FILL:
            return None
        marker = data[at + 1]
        if marker == _FILL:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            return _frame(data, at + 4)
        elif marker in _OTHER_FRAMES or marker in (_SCAN, _END):
            return None
        else:
            length = (data[at + 2] << 8) | data[at + 3]
            if length < 2:
                return None
            at += 2 + length
    return None


def _frame(data: memoryview, at: int) -> tuple[int, int] | None:
    bits, components = data[at], data[at + 5]
    height, width = (data[at + 1] << 8) | data[at + 2], (data[at + 3] << 8) | data[at + 4]
    plain = bits == 8 and components in (1, 3) and height > 0 and width > 0
    return (height, width) if plain else None
