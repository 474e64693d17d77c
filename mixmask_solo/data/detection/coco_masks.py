# SPDX-License-Identifier: MIT
"""COCO's masks: polygons or run lengths, checked as they are read, drawn as they are trained on.

pycocotools takes both as they come: a corner that is not a number, or run lengths that do not fill
their image, let it write where it must not.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.data.detection.coco_entries import Entry


def checked_mask(entry: Entry, size: tuple[int, int]) -> Any:
    """An annotation's mask: polygons, (2n,) float64 each, or run lengths; None where its corners
    span nothing of its image, or its run lengths have no pixel.

    Polygons of fewer than three corners, or of half a corner, are left out. One that spans less
    than a pixel is an object all the same, as for pycocotools.

    Args:
        size: width and height of the image.

    Raises:
        ConfigError: for what is neither, for a corner that is no number or far outside of the
            image, and for run lengths that are broken or of another size.
    """
    found = entry.told.get("segmentation")
    if isinstance(found, dict):
        return _checked_runs(entry, found, size)
    if not isinstance(found, list) or not all(isinstance(p, list) for p in found):
        raise entry.error(
            "has a segmentation that is neither a list of polygons, [[x, y, ...], ...], nor run "
            "lengths"
        )
    polygons, spans = [], False
    for corners in found:
        if len(corners) >= 6 and len(corners) % 2 == 0:
            polygon = _polygon(entry, corners)
            left, right = min(corners[0::2]), max(corners[0::2])
            top, bottom = min(corners[1::2]), max(corners[1::2])
            entry.refuse_far((left, top, right, bottom), size, "a polygon")
            polygons.append(polygon)
            spans |= min(right, size[0]) > max(left, 0) and min(bottom, size[1]) > max(top, 0)
    return polygons if spans else None


def _polygon(entry: Entry, corners: list[Any]) -> NDArray[np.float64]:
    try:
        found = np.array(corners)
    except ValueError:  # lists among the numbers
        found = np.array("")
    if found.dtype.kind in "iuf" and found.ndim == 1 and math.isfinite(found.sum()):
        return found.astype(np.float64, copy=False)
    wrong = next((v for v in corners if not isinstance(v, (int, float)) or v - v != 0), corners)
    raise entry.error(f"has {wrong!r} in a polygon: give finite numbers, [x, y, x, y, ...]")


def _checked_runs(entry: Entry, told: dict[str, Any], size: tuple[int, int]) -> Any:
    """Run lengths; None where they have no pixel inside."""
    counts, own = told.get("counts"), told.get("size")
    if own != [size[1], size[0]]:
        raise entry.error(
            f"has run lengths of size {own}, its image is {size[0]}x{size[1]}: give size "
            f"[{size[1]}, {size[0]}] (height, width)"
        )
    runs = _runs(counts) if isinstance(counts, str) else _whole(counts)
    if runs is None or min(runs, default=0) < 0:
        raise entry.error("has broken run lengths: write them again, as COCO's tools do")
    if sum(runs) != size[0] * size[1]:
        raise entry.error(
            f"has run lengths of {sum(runs)} pixels, its image has {size[0] * size[1]}"
        )
    if not any(runs[1::2]):
        return None
    return {"size": [size[1], size[0]], "counts": counts if isinstance(counts, str) else runs}


def _whole(counts: Any) -> list[int] | None:
    """The numbers of a list; None for what is no list of whole ones."""
    numbers = isinstance(counts, list) and all(type(run) in (int, float) for run in counts)
    if not numbers or any(run % 1 != 0 for run in counts):  # so is NaN, and infinity
        return None
    return [int(run) for run in counts]


def _runs(text: str) -> list[int] | None:
    """The lengths in a text: five bits a character from 48, the sixth where more follow, each from
    the fourth on told as the difference to the last but one; None for what is no such text."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs


def run_lengths(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """One object's polygons or run lengths as pycocotools' compressed run lengths.

    Args:
        segmentation: polygons, each ``x, y, x, y, ...``, or COCO's dict of counts.
        size: width and height of the image.
    """
    from pycocotools import mask as masks

    width, height = size
    if isinstance(segmentation, list):
        return dict(masks.merge(masks.frPyObjects(segmentation, height, width)))
    if isinstance(segmentation["counts"], list):
        return dict(masks.frPyObjects(segmentation, height, width))
    return dict(segmentation)


def drawn(
    segmentation: Any, size: tuple[int, int], scale: tuple[float, float]
) -> NDArray[np.uint8]:
    """(height, width) uint8 of one object's mask, 1 inside, in an image that was resized.

    Polygons are resized as such; run lengths are drawn and then resized to the nearest pixel.

    Args:
        size: width and height after resizing.
        scale: these divided by those before.
    """
    from PIL import Image
    from pycocotools import mask as masks

    if isinstance(segmentation, list):
        moved: Sequence[Any] = [(np.reshape(p, (-1, 2)) * scale).reshape(-1) for p in segmentation]
        found: NDArray[np.uint8] = masks.decode(run_lengths(moved, size))
        return found
    before = (round(size[0] / scale[0]), round(size[1] / scale[1]))
    full = Image.fromarray(masks.decode(run_lengths(segmentation, before)))
    return np.asarray(full.resize(size, Image.Resampling.NEAREST))
