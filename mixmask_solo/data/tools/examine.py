# SPDX-License-Identifier: MIT
"""One image, looked at thoroughly."""

from __future__ import annotations

import hashlib
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from mixmask_solo.data.sources import Source
from mixmask_solo.data.tolerance import damage_of

__all__ = ["Examination", "Facts", "examine"]

_ORIENTATION = 0x0112
_SMALL, _LONG, _LARGE = 8, 10, 50_000_000


class Facts(NamedTuple):
    """What is known about an image.

    Attributes:
        number: its place in the source.
        size: (width, height); None where it cannot be read.
        mode: Pillow's name of its colours.
        format: Pillow's name of its file format; empty for arrays.
        digest: of the stored bytes.
        odd: what a reader should know.
        damage: why it cannot be read; empty where it can.
    """

    number: int
    size: tuple[int, int] | None
    mode: str
    format: str
    digest: bytes
    odd: tuple[str, ...]
    damage: str


def examine(source: Source, index: int) -> Facts:
    """Decodes one image as training does, and looks at what training does not."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            digest = _digest(source, index)
            image = source.load(index)
            image.convert("RGB")
        except Exception as error:  # as in Source.image
            damage = damage_of(source, index, error).reason
            return Facts(index, None, "", "", b"", (), damage)
        odd = _oddities(image)
    remarks = {" ".join(str(one.message).split()) for one in said}
    kind = getattr(image, "format", None) or ""
    return Facts(index, image.size, image.mode, kind, digest, (*odd, *sorted(remarks)), "")


class Examination(Dataset[Facts]):
    """The facts of all images of a source."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Facts:
        return examine(self.source, index)


def _digest(source: Source, index: int) -> bytes:
    stored = source.encoded(index)
    raw = np.asarray(source.load(index)) if stored is None else stored
    return hashlib.blake2b(np.ascontiguousarray(raw).data, digest_size=16).digest()


def _oddities(image: Image.Image) -> list[str]:
    width, height = image.size
    odd = []
    if min(width, height) < _SMALL:
        odd.append(f"shorter side below {_SMALL} pixels")
    if max(width, height) > _LONG * min(width, height):
        odd.append(f"one side over {_LONG} times the other")
    if width * height > _LARGE:
        odd.append("over 50 megapixels")
    if image.mode.startswith(("I", "F")):
        odd.append("more than 8 bits a channel: values above 255 become white")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        odd.append("transparent: alpha is dropped")
    try:
        if getattr(image, "n_frames", 1) > 1:
            odd.append("several frames: only the first is used")
        if image.getexif().get(_ORIENTATION, 1) not in (0, 1):
            odd.append("turned by its EXIF orientation, which is ignored")
    except Exception:  # training looks at neither, so it is no damage
        odd.append("later frames or EXIF cannot be read, which training does not need")
    return odd
