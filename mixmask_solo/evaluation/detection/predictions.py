# SPDX-License-Identifier: MIT
"""Detections of an image in its own pixels, as they are kept, judged and written down."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mixmask_solo.evaluation.detection.masks import pasted


class Prediction(NamedTuple):
    """Of one image; all arrays in the order of the scores."""

    image: int  # its number in the split
    boxes: NDArray[np.float32]  # (n, 4), as in Annotated
    scores: NDArray[np.float32]  # (n,)
    labels: NDArray[np.int64]  # (n,) from 1
    masks: list[dict[str, Any]] | None = None  # (n,) pycocotools' run lengths


def in_image(
    found: dict[str, Tensor], index: int, size: tuple[int, int], resized: Any
) -> Prediction:
    """What a detector found in a resized image, in the pixels of the stored one.

    Args:
        found: of :class:`Detector`.
        size: width and height as stored.
        resized: (height, width) that the detector saw.
    """
    width, height = size
    scale = found["boxes"].new_tensor([width / resized[1], height / resized[0]]).repeat(2)
    boxes = found["boxes"] * scale
    limits = boxes.new_tensor([width, height]).repeat(2)
    boxes = boxes.clamp_min(0).minimum(limits)
    masks = None
    if "masks" in found:
        masks = [
            _run_lengths(m, b, height, width) for m, b in zip(found["masks"], boxes, strict=True)
        ]
    return Prediction(
        index,
        boxes.float().cpu().numpy(),
        found["scores"].float().cpu().numpy(),
        found["labels"].cpu().numpy(),
        masks,
    )


def _run_lengths(mask: Tensor, box: Tensor, height: int, width: int) -> dict[str, Any]:
    """One by one: a hundred masks of a whole photograph would take a gigabyte."""
    from pycocotools import mask as masks

    inside = pasted(mask[0], box, height, width).cpu().numpy()
    encoded: dict[str, Any] = masks.encode(np.asfortranarray(inside.astype(np.uint8)))
    return encoded
