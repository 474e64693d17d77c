# SPDX-License-Identifier: MIT
"""COCO's average precision of boxes and masks, computed by pycocotools."""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.annotations import Annotated
from mixmask_solo.data.detection.coco_masks import run_lengths
from mixmask_solo.evaluation.detection.predictions import Prediction

_NAMES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def require_pycocotools() -> None:
    """Raises ConfigError where it is not installed, saying how to."""
    try:
        import pycocotools.cocoeval  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            "pycocotools, which measures detection and draws masks, is not installed: "
            "pip install '.[detection]' in the checkout"
        ) from error


def coco_metric(
    images: Sequence[Annotated], classes: int, found: Sequence[Prediction], *, masks: bool
) -> dict[str, float]:
    """``box_ap``, ``box_ap50``, ``box_ap75`` and by size, in percent; of masks where asked.

    The mean over IoU 0.50 to 0.95 of the precision at 101 recalls, of at most 100 detections an
    image. Only images that something was ``found`` of, be it nothing, are counted; VOC's difficult
    objects count like others. -1 where there is no object of that size.

    Args:
        images: by number.
        classes: how many, without the background.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with redirect_stdout(io.StringIO()):  # it prints whatever it does
        truth = COCO()
        truth.dataset = _truth([(p.image, images[p.image]) for p in found], classes, masks)
        truth.createIndex()
        rows = [row for p in found for row in _rows(p, masks)]
        measured: dict[str, float] = {}
        for kind, name in (("bbox", "box"), ("segm", "mask"))[: 1 + masks]:
            evaluation = COCOeval(truth, _loaded(truth, rows, kind), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            figures = evaluation.stats[: len(_NAMES)].tolist()
            percent = [value if value < 0 else 100 * value for value in figures]
            measured |= {f"{name}_{key}": v for key, v in zip(_NAMES, percent, strict=True)}
    return measured


def _loaded(truth: Any, rows: list[dict[str, Any]], kind: str) -> Any:
    """Areas, by which detections are sorted, are those of what is measured."""
    if not rows:
        found = type(truth)()
        found.dataset = {**truth.dataset, "annotations": []}
        found.createIndex()
        return found
    drop = "segmentation" if kind == "bbox" else "bbox"
    return truth.loadRes([{k: v for k, v in row.items() if k != drop} for row in rows])


def _truth(
    chosen: Sequence[tuple[int, Annotated]], classes: int, masks: bool
) -> dict[str, list[dict[str, Any]]]:
    annotations: list[dict[str, Any]] = []
    for index, one in chosen:
        edges = one.boxes[:, 2:] - one.boxes[:, :2]
        areas = edges.prod(axis=1) if one.areas is None else one.areas
        for i, box in enumerate(one.boxes.tolist()):
            told = {
                "id": len(annotations) + 1,
                "image_id": index,
                "category_id": int(one.labels[i]),
                "bbox": [*box[:2], *edges[i].tolist()],
                "area": float(areas[i]),
                "iscrowd": int(one.crowd[i]),
            }
            if masks:
                assert one.segmentations is not None, "a run with masks reads them"
                told["segmentation"] = run_lengths(one.segmentations[i], one.size)
            annotations.append(told)
    images = [{"id": i, "width": one.size[0], "height": one.size[1]} for i, one in chosen]
    categories = [{"id": i} for i in range(1, classes + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _rows(found: Prediction, masks: bool) -> list[dict[str, Any]]:
    boxes = np.concatenate([found.boxes[:, :2], found.boxes[:, 2:] - found.boxes[:, :2]], axis=1)
    rows = [
        {"image_id": found.image, "category_id": label, "bbox": box, "score": score}
        for label, box, score in zip(
            found.labels.tolist(), boxes.tolist(), found.scores.tolist(), strict=True
        )
    ]
    if masks:
        assert found.masks is not None, "a detector with masks finds them"
        rows = [row | {"segmentation": m} for row, m in zip(rows, found.masks, strict=True)]
    return rows
