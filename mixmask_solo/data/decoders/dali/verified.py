# SPDX-License-Identifier: MIT
"""Which images have been found whole, each looked at once a run.

Where the compressed data of a JPEG file is damaged but its markers are not, DALI decodes garbage
without a word. Pillow refuses such files, and so do the other decoders. Decoding at an eighth of
the size reads all of the compressed data and does a fraction of the work.
"""

from __future__ import annotations

import io

import torch
from PIL import Image

from mixmask_solo.data.sources.base import Encoded

__all__ = ["Verified"]


class Verified:
    """Remembers for all worker processes together.

    Args:
        images: their number.
    """

    def __init__(self, images: int) -> None:
        self._whole = torch.zeros(images, dtype=torch.uint8).share_memory_()

    def __call__(self, index: int, encoded: Encoded) -> bool:
        """Whether Pillow decodes a JPEG file to its end."""
        if not self._whole[index]:
            self._whole[index] = _is_whole(encoded)
        return bool(self._whole[index])


def _is_whole(encoded: Encoded) -> bool:
    try:
        with Image.open(io.BytesIO(encoded.data)) as image:
            image.draft(None, (1, 1))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True
