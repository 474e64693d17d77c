# SPDX-License-Identifier: MIT
"""What is known about one image of a detection data set, and a split's images."""

import hashlib
import marshal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.data.sources.base import ImageError
from mixmask_solo.data.sources.folder import FolderSource

Boxes = NDArray[np.float32]
LARGEST = 2**53  # of whole numbers that a float holds each of: more is no place in an image
_FAR = 10  # times the image's longer side, from its origin; a polygon takes memory for every pixel


class Annotated(NamedTuple):
    """One image.

    Boxes are (x1, y1, x2, y2) in pixels, from 0 at the left or upper edge of the first pixel, so
    that a box of the whole image is (0, 0, width, height).
    """

    file: str
    size: tuple[int, int]  # width, height; (0, 0) where the annotation does not tell
    boxes: Boxes  # (n, 4)
    labels: NDArray[np.int64]  # (n,), from 1: 0 is the background
    # (n,) bool: VOC's objects that no detection is judged by, trained on all the same
    difficult: NDArray[np.bool_]
    # (n,) bool: COCO's groups, which are no objects: not trained on
    crowd: NDArray[np.bool_]
    # (n,) COCO's polygons, float64 each, or run lengths; None without masks
    segmentations: list[Any] | None = None
    areas: NDArray[np.float64] | None = None  # (n,) of COCO's file, which sorts by size


@dataclass
class Faults:
    """What was passed over while a split was read, each kind counted, the first few named."""

    boxes_without_extent: int = 0
    masks_without_extent: int = 0  # which span nothing of their image
    images_without_objects: int = 0  # left out of training, kept at test
    first: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """For the record of a run."""
        counts = {
            "boxes_without_extent": self.boxes_without_extent,
            "masks_without_extent": self.masks_without_extent,
            "images_without_objects": self.images_without_objects,
        }
        return {**counts, **({"for_instance": self.first} if self.first else {})}

    def name(self, what: str) -> None:
        """Remembers one of the first."""
        if len(self.first) < 5:
            self.first.append(what)


class DetectionSource(FolderSource):
    """The images of a split, with their annotations by number.

    Its ``labels`` are no classes of images but a digest of each one's annotation, so that a run
    that goes on notices when they have changed.
    """

    def __init__(
        self, annotated: Sequence[Annotated], classes: Sequence[str], faults: Faults
    ) -> None:
        super().__init__(
            Path(), [one.file for one in annotated], [*map(_digest, annotated)], classes
        )
        self.annotated = list(annotated)
        self.faults = faults

    def load(self, index: int) -> Any:
        """The image as stored; ImageError where it is not of the size that its boxes are for."""
        image, told = super().load(index), self.annotated[index].size
        if told != (0, 0) and image.size != told:
            width, height = image.size
            raise ImageError(
                f"{self.name(index)} is {width}x{height}, its annotation says {told[0]}x{told[1]}"
            )
        return image


def stored_size(file: Path) -> tuple[int, int]:
    """Width and height by the image's own head; (0, 0) where it cannot be read."""
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, ValueError, Image.DecompressionBombError):
        return 0, 0  # told when the image is read


def far_outside(places: Sequence[float], size: tuple[int, int]) -> float | None:
    """The one of ``places`` that lies furthest outside of an image of that size, where that is
    further than a slip of the annotator's; of an image of unknown size, (0, 0), none is."""
    far = max(places, key=abs)
    return far if size != (0, 0) and abs(far) > _FAR * max(size) else None


def without_empty_boxes(boxes: Boxes, size: tuple[int, int]) -> NDArray[np.bool_]:
    """(n,) bool: which boxes (n, 4) cover something of an image of that size, if it is known."""
    if size != (0, 0):
        width, height = size
        boxes = np.stack([boxes[:, 0::2].clip(0, width), boxes[:, 1::2].clip(0, height)], axis=2)
        boxes = boxes.reshape(-1, 4)
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def trained_on(images: Sequence[Annotated], faults: Faults) -> list[Annotated]:
    """The images with an object at least, the others counted, as Detectron2 trains."""
    kept = []
    for one in images:
        if (~one.crowd).any():
            kept.append(one)
        else:
            faults.images_without_objects += 1
            faults.name(f"{one.file}: no object")
    return kept


def _digest(one: Annotated) -> int:
    content = hashlib.blake2b(digest_size=8)
    for part in (one.boxes, one.labels, one.difficult, one.crowd, one.areas):
        content.update(b"" if part is None else part.tobytes())
    if one.segmentations is not None:
        content.update(marshal.dumps(one.segmentations, 2))  # 2: without references
    return int.from_bytes(content.digest(), "little", signed=True)
