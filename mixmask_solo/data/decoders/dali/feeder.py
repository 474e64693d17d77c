# SPDX-License-Identifier: MIT
"""From the numbers of images to what DALI is fed with: bytes that it can decode, and their sizes.

Pillow has the last word on every image that is not a plain, whole JPEG file: it decodes the image
here, or says that it is damaged, and DALI gets the pixels in the simplest of formats (PPM). So all
decoders agree on what is an image, and formats unknown to DALI need no other way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.data.decoders.dali.header import jpeg_size
from mixmask_solo.data.decoders.dali.verified import Verified
from mixmask_solo.data.sources import ImageError, Source
from mixmask_solo.data.sources.base import Encoded
from mixmask_solo.data.tolerance import Tolerance

__all__ = ["Fed", "Feeder", "Key"]

Key = tuple[int, int]


class Fed(NamedTuple):
    """A batch before decoding.

    Attributes:
        epoch: the batch's.
        indexes: (n,) int64, of the images that are really there.
        encoded: their files' bytes.
        sizes: (n, 2) int64 height and width.
    """

    epoch: int
    indexes: NDArray[np.int64]
    encoded: list[Encoded]
    sizes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.encoded)


class Feeder:
    """Reads batches.

    Args:
        source: the images.
        seed: decides which image takes a damaged one's place.
        tolerance: what is done about damaged images.
        training: whether places stay filled; else damaged images are left out under ``skip``.
        verified: looks once at the compressed data of each image; None trusts its markers.
    """

    def __init__(
        self,
        source: Source,
        seed: int,
        tolerance: Tolerance,
        *,
        training: bool,
        verified: Verified | None = None,
    ) -> None:
        self.source = source
        self.seed = seed
        self.tolerance = tolerance
        self.training = training
        self.verified = verified

    def read(self, keys: Sequence[Key]) -> Fed:
        """A batch of ``(epoch, index)``.

        Raises:
            ImageError: for a damaged image, as the tolerance has it.
        """
        return self._fed(keys, [self._plain(index) for _, index in keys])

    def repaired(self, keys: Sequence[Key]) -> Fed:
        """The same batch after DALI refused it: every image decoded by Pillow."""
        return self._fed(keys, [None] * len(keys))

    def _fed(self, keys: Sequence[Key], plain: Sequence[tuple[Encoded, int, int] | None]) -> Fed:
        indexes: list[int] = []
        encoded: list[Encoded] = []
        sizes: list[tuple[int, int]] = []
        for (epoch, index), found in zip(keys, plain, strict=True):
            if found is not None:
                data, height, width = found
            else:
                decoded = self._decoded(epoch, index)
                if decoded is None:
                    continue
                index, image = decoded
                data, height, width = _ppm(image), image.height, image.width
            indexes.append(index)
            encoded.append(data)
            sizes.append((height, width))
        epoch = keys[0][0] if keys else 0
        table = np.array(sizes, dtype=np.int64).reshape(-1, 2)
        return Fed(epoch, np.array(indexes, dtype=np.int64), encoded, table)

    def _plain(self, index: int) -> tuple[Encoded, int, int] | None:
        """Bytes and size of what DALI decodes itself."""
        try:
            encoded = self.source.encoded(index)
        except ImageError:
            return None  # what to do about it is decided where Pillow fails as well
        size = None if encoded is None else jpeg_size(encoded)
        if encoded is None or size is None:
            return None
        if self.verified is not None and not self.verified(index, encoded):
            return None
        return encoded, *size

    def _decoded(self, epoch: int, index: int) -> tuple[int, Image.Image] | None:
        if self.training:
            return self.tolerance.pick(self.source, index, seed=self.seed, epoch=epoch)
        image = self.tolerance.read(self.source, index)
        return None if image is None else (index, image)


def _ppm(image: Image.Image) -> Encoded:
    head = b"P6 %d %d 255\n" % image.size
    return np.frombuffer(head + image.tobytes(), dtype=np.uint8)
