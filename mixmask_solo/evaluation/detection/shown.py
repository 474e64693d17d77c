# SPDX-License-Identifier: MIT
"""Detections beside the truth, as plain values that a picture is drawn from."""

from collections.abc import Sequence
from typing import Any

from mixmask_solo.data.detection.annotations import DetectionSource
from mixmask_solo.data.detection.coco_masks import run_lengths
from mixmask_solo.evaluation.detection.predictions import Prediction

_LEAST = 0.3  # score of what is shown


def shown(source: DetectionSource, found: Sequence[Prediction], count: int) -> dict[str, Any]:
    """``classes``, ``least_score``, and of each of the first ``count`` images ``file``, ``truth``
    and ``found``: lists of ``label``, ``box``, ``score``, ``mask``, the latter as run lengths."""
    chosen = sorted(found, key=lambda p: p.image)[:count]
    return {
        "classes": source.classes,
        "least_score": _LEAST,
        "images": [
            {"file": source.name(p.image), "truth": _truth(source, p.image), "found": _found(p)}
            for p in chosen
        ],
    }


def _truth(source: DetectionSource, image: int) -> list[dict[str, Any]]:
    one = source.annotated[image]
    rows: list[dict[str, Any]] = []
    for i, box in enumerate(one.boxes.tolist()):
        row = {"label": int(one.labels[i]), "box": box}
        if one.segmentations is not None:
            row["mask"] = _text(run_lengths(one.segmentations[i], one.size))
        rows.append(row)
    return rows


def _found(p: Prediction) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for i, box in enumerate(p.boxes.tolist()):
        if p.scores[i] < _LEAST:
            continue
        row = {"label": int(p.labels[i]), "box": box, "score": float(p.scores[i])}
        if p.masks is not None:
            row["mask"] = _text(p.masks[i])
        rows.append(row)
    return rows


def _text(mask: dict[str, Any]) -> dict[str, Any]:
    """Counts as text, as JSON has no bytes."""
    counts = mask["counts"]
    return {
        "size": mask["size"],
        "counts": counts.decode() if isinstance(counts, bytes) else counts,
    }
