# SPDX-License-Identifier: MIT
"""From the numbers of images to what DALI is fed with: bytes that it can decode, and their sizes.

Pillow has the last word on every image that is not a plain, whole JPEG file: it decodes the image
here, or says that it is damaged, and DALI gets the pixels in the simplest of formats (PPM).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mixmask_solo.data.augmentations.draws import Draws
from mixmask_solo.data.batched.plan import to_device
from mixmask_solo.data.batched.views import View
from mixmask_solo.data.decoders.dali.jpeg import is_whole, read_jpeg
from mixmask_solo.data.decoders.dali.verified import Verified
from mixmask_solo.data.order.sampler import Key
from mixmask_solo.data.sources import ImageError
from mixmask_solo.data.sources.base import Encoded
from mixmask_solo.data.tolerance import Reader

Keys = Sequence[Key] | Sequence[int]
Found = tuple[int, Encoded, int, int]  # index, bytes, height, width


class Area(NamedTuple):
    """What part of each image of a batch a view shows."""

    view: View
    draws: Draws  # the box is resized
    fit: NDArray[np.int64]  # (n, 2) height and width of that; a square in its centre is shown


class EncodedBatch(NamedTuple):
    """A batch before decoding."""

    keys: Keys  # what was asked for
    indexes: NDArray[np.int64]  # (n,) of the images that are really there
    files: list[Encoded]  # n
    areas: list[Area]  # of each view


@dataclass
class Feeder:
    """Reads batches, several threads at once, and gives them the form that training takes."""

    reader: Reader
    views: Sequence[View]
    _: KW_ONLY
    training: bool  # whether places stay filled; else damaged images are left out under skip
    labelled: bool  # whether a batch is [x, targets] instead of [indexes, views, targets]
    verified: Verified  # sizes of the images that were looked at
    verify: bool = True  # whether that was by Pillow, too

    def read(self, keys: Keys, *, by_pillow: bool = False) -> EncodedBatch:
        """A batch; after DALI refused one of its images, Pillow decodes them all.

        Raises:
            ImageError: for a damaged image, as the run has it.
        """
        pairs = [key if isinstance(key, tuple) else (0, key) for key in keys]
        asked = np.array([index for _, index in pairs], dtype=np.int64)
        plain = [None] * len(pairs) if by_pillow else self._plain(asked)
        every = (one or self._decoded(*pair) for one, pair in zip(plain, pairs, strict=True))
        found = [one for one in every if one is not None]
        indexes = np.array([one[0] for one in found], dtype=np.int64)
        sizes = np.array([one[2:] for one in found], dtype=np.int64).reshape(-1, 2)
        areas = []
        for view in self.views:
            draws = view.draw(sizes, self.reader.seed, pairs[0][0], indexes)
            areas.append(Area(view, draws, _fit(view, sizes)))
        return EncodedBatch(keys, indexes, [one[1] for one in found], areas)

    def batch(self, read: EncodedBatch, views: list[Tensor], device: torch.device) -> Any:
        """A batch as training takes it; None where all of its images are left out."""
        if not read.files:
            return None
        targets = to_device(self.reader.source.labels[read.indexes], device)
        if self.labelled:
            return [views[0], targets]
        return [to_device(read.indexes, device), views, targets]

    @contextmanager
    def sharing(self) -> Iterator[None]:
        """Before and after, what is whole is exchanged with earlier runs and other processes."""
        self.verified.share()
        try:
            yield
        finally:
            self.verified.share()

    def _plain(self, indexes: NDArray[np.int64]) -> Iterator[Found | None]:
        """What DALI decodes itself; None for the other images."""
        unreadable = self.reader.unreadable.numpy()[indexes]
        stamps = self.reader.source.stamps(indexes)  # before files are read: a change has to show
        sizes = self.verified.sizes(indexes, stamps)
        columns = (column.tolist() for column in (indexes, unreadable, stamps, sizes))
        for index, skipped, stamp, (height, width) in zip(*columns, strict=True):
            if skipped or (encoded := self._encoded(index)) is None:
                yield None
            elif height:
                yield index, encoded, height, width
            else:
                size = self._looked_at(index, encoded, stamp)
                yield None if size is None else (index, encoded, *size)

    def _encoded(self, index: int) -> Encoded | None:
        try:
            return self.reader.source.encoded(index)
        except ImageError:
            return None  # what to do about it is decided where Pillow fails as well

    def _looked_at(self, index: int, encoded: Encoded, stamp: int) -> tuple[int, int] | None:
        """The size of a plain JPEG file that is whole, or need not be."""
        jpeg = read_jpeg(encoded)
        if jpeg is None or (self.verify and not is_whole(jpeg)):
            return None
        self.verified.add(index, stamp, jpeg.size)
        return jpeg.size

    def _decoded(self, epoch: int, index: int) -> Found | None:
        """An image that Pillow decodes, as PPM; None for one that is left out."""
        image: Image.Image | None
        if self.training:
            index, image = self.reader.pick(index, epoch)
        else:
            image = self.reader.read(index)
        if image is None:
            return None
        head = b"P6 %d %d 255\n" % image.size
        ppm = np.frombuffer(head + image.tobytes(), dtype=np.uint8)
        return index, ppm, image.height, image.width


def _fit(view: View, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    if view.shorter is None:
        return np.full_like(sizes, view.size)
    short = sizes.min(axis=1, keepdims=True)
    # torchvision's rounding: the longer side is cut off, not rounded
    longer = (view.shorter * sizes / short).astype(np.int64)
    return np.where(sizes == short, view.shorter, longer)
