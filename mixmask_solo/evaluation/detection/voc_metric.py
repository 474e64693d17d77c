# SPDX-License-Identifier: MIT
"""Pascal VOC's average precision, at ten thresholds as Detectron2 reports it.

No library that is maintained has it: torchmetrics and pycocotools compute COCO's alone.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.data.detection.annotations import Annotated
from mixmask_solo.evaluation.detection.predictions import Prediction

Array = NDArray[np.float64]
_THRESHOLDS = tuple(x / 100 for x in range(50, 100, 5))


def voc_metric(
    images: Sequence[Annotated],
    classes: int,
    found: Sequence[Prediction],
    kind: Literal["2007", "area"] = "2007",
) -> dict[str, float]:
    """``voc_ap``, ``voc_ap50``, ``voc_ap75`` in percent: means over the classes that occur, the
    first one over IoU 0.50 to 0.95 too.

    As Detectron2's evaluator of VOC: corners count from 1 and include their pixels, are rounded to
    a tenth and scores to a thousandth; the most similar object decides, and one that is difficult
    makes a detection count neither way. Only images that something was ``found`` of are counted.

    Args:
        images: by number.
        classes: how many, without the background.
        kind: mean precision at recall 0, 0.1 ... 1, or the area under precision made monotonous.
    """
    chosen = {p.image: images[p.image] for p in found}
    by_threshold: list[list[float]] = [[] for _ in _THRESHOLDS]
    for label in range(1, classes + 1):
        judged = _judged(chosen, found, label)
        if judged is None:
            continue
        overlaps, objects, difficult, positives = judged
        for precisions, threshold in zip(by_threshold, _THRESHOLDS, strict=True):
            hits, misses = _counts(overlaps, objects, difficult, threshold)
            precisions.append(average_precision(hits, misses, positives, kind))
    if not by_threshold[0]:
        return dict.fromkeys(("voc_ap", "voc_ap50", "voc_ap75"), -1.0)
    means = [100 * float(np.mean(x)) for x in by_threshold]
    return {"voc_ap": float(np.mean(means)), "voc_ap50": means[0], "voc_ap75": means[5]}


def average_precision(
    hits: NDArray[np.bool_], misses: NDArray[np.bool_], positives: int, kind: str
) -> float:
    """Of one class at one threshold: (D,) whether each detection, best first, is right or wrong
    (neither where it does not count), and how many objects there are."""
    right, wrong = np.cumsum(hits), np.cumsum(misses)
    recall = right / positives
    precision = right / np.maximum(right + wrong, np.finfo(np.float64).eps)
    if kind == "2007":
        # the devkit's recalls, with the errors of their steps
        points = np.arange(0.0, 1.1, 0.1)
        return float(np.mean([precision[recall >= t].max(initial=0.0) for t in points]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _judged(
    images: dict[int, Annotated], found: Sequence[Prediction], label: int
) -> tuple[Array, NDArray[np.int64], NDArray[np.bool_], int] | None:
    """For each detection of a class, best first: its largest overlap, the number of that object,
    whether that is difficult; and how many objects are to be found. None without any."""
    boxes: dict[int, Array] = {}
    first: dict[int, int] = {}
    difficult: list[bool] = []
    for index, one in images.items():
        own = one.labels == label
        boxes[index] = one.boxes[own].astype(np.float64)
        first[index] = len(difficult)
        difficult += one.difficult[own].tolist()
    if not difficult or all(difficult):
        return None
    rows = [
        (round(float(score), 3), p.image, box)
        for p in found
        for score, box, own in zip(p.scores, p.boxes, p.labels == label, strict=True)
        if own
    ]
    rows.sort(key=lambda row: -row[0])  # stable
    overlaps, objects = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
    for i, (_, index, box) in enumerate(rows):
        if len(boxes[index]):
            own = _overlaps(_rounded(box), boxes[index])
            overlaps[i], objects[i] = own.max(), first[index] + own.argmax()
    hard = np.array(difficult, bool)
    return overlaps, objects, hard, int((~hard).sum())


def _rounded(box: NDArray[np.float32]) -> Array:
    return np.array([round(float(x), 1) for x in box])


def _overlaps(box: Array, objects: Array) -> Array:
    """(n,) IoU with (n, 4) boxes. Counted from 0 with open ends, as both are here, an inclusive box
    of VOC's is exactly as wide as its corners are apart."""
    low = np.maximum(objects[:, :2], box[:2])
    high = np.minimum(objects[:, 2:], box[2:])
    shared = (high - low).clip(0).prod(axis=1)
    areas = (objects[:, 2:] - objects[:, :2]).prod(axis=1)
    union: Array = areas + (box[2:] - box[:2]).prod() - shared
    return shared / union


def _counts(
    overlaps: Array, objects: NDArray[np.int64], difficult: NDArray[np.bool_], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(D,) which detections are right, which are wrong: the first one of an object is right."""
    there = overlaps > threshold
    _, firsts = np.unique(np.where(there, objects, -1), return_index=True)
    first = np.zeros(len(objects), bool)
    first[firsts] = True
    hits = there & first
    misses = ~there | ~first
    if len(objects):
        ignored = there & difficult[objects]
        hits, misses = hits & ~ignored, misses & ~ignored
    return hits, misses
