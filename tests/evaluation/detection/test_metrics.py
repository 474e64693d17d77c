# SPDX-License-Identifier: MIT
"""Average precision of fixed predictions: by hand, and by pycocotools on a file."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.data.detection.annotations import Annotated
from mixmask_solo.data.detection.coco import read_coco
from mixmask_solo.data.detection.coco_masks import run_lengths
from mixmask_solo.evaluation.detection.coco_metric import coco_metric
from mixmask_solo.evaluation.detection.predictions import Prediction
from mixmask_solo.evaluation.detection.voc_metric import average_precision, voc_metric
from support.detection import coco_file

pytest.importorskip("pycocotools")

Row = tuple[list[float], float, int]  # box, score, label


def _image(*objects: tuple[list[float], int, bool]) -> Annotated:
    boxes = np.array([box for box, _, _ in objects], np.float32).reshape(-1, 4)
    return Annotated(
        file="x.jpg",
        size=(100, 100),
        boxes=boxes,
        labels=np.array([label for _, label, _ in objects], np.int64),
        difficult=np.array([hard for _, _, hard in objects], bool),
        crowd=np.zeros(len(objects), bool),
    )


def _found(image: int, *rows: Row) -> Prediction:
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in rows], np.float32)
    return Prediction(image, boxes, scores, np.array([x for _, _, x in rows], np.int64))


A, B, C = [0.0, 0.0, 20.0, 20.0], [40.0, 40.0, 60.0, 60.0], [70.0, 0.0, 90.0, 20.0]


def test_eleven_points_by_hand() -> None:
    """Right, wrong, right of two objects: precision 1 up to recall 1/2, then 2/3."""
    images = [_image((A, 1, False), (B, 1, False))]
    found = [_found(0, (A, 0.9, 1), (C, 0.8, 1), (B, 0.7, 1))]
    measured = voc_metric(images, 1, found)
    expected = 100 * (6 * 1 + 5 * 2 / 3) / 11  # recalls 0 to 0.5, 0.6 to 1
    assert measured == pytest.approx(dict.fromkeys(("voc_ap", "voc_ap50", "voc_ap75"), expected))
    area = voc_metric(images, 1, found, "area")
    assert area["voc_ap50"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))


def test_difficult_objects_count_neither_way() -> None:
    images = [_image((A, 1, False), (B, 1, True))]
    missed = voc_metric(images, 1, [_found(0, (A, 0.5, 1))])
    found = voc_metric(images, 1, [_found(0, (B, 0.9, 1), (A, 0.5, 1))])
    assert missed["voc_ap50"] == found["voc_ap50"] == pytest.approx(100)


def test_the_second_detection_of_an_object_is_wrong() -> None:
    images = [_image((A, 1, False), (B, 1, False))]
    found = [_found(0, (A, 0.9, 1), (A, 0.8, 1), (B, 0.7, 1))]
    assert voc_metric(images, 1, found)["voc_ap50"] == pytest.approx(100 * (6 + 10 / 3) / 11)


def test_thresholds_and_the_mean_over_classes_that_occur() -> None:
    """An overlap of 0.8 is right up to 0.75: six of ten thresholds; class 3 has no object."""
    images = [_image((A, 1, False), (B, 2, False))]
    found = [_found(0, ([0.0, 0.0, 20.0, 16.0], 0.9, 1), (B, 0.9, 2), (C, 0.9, 3))]
    measured = voc_metric(images, 3, found)
    assert measured["voc_ap"] == pytest.approx((60 + 100) / 2)
    assert measured["voc_ap75"] == pytest.approx(100)


def test_corners_are_rounded_to_a_tenth_as_detectron2_writes_them() -> None:
    """19.04 counts as 19.0, so that the overlap with 10 wide is no longer above one half."""
    images = [_image(([0.0, 0.0, 10.0, 10.0], 1, False))]
    found = [_found(0, ([0.0, 0.0, 10.0, 5.04], 0.9, 1))]
    assert voc_metric(images, 1, found)["voc_ap50"] == 0


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(0, 5))
def test_average_precision_lies_between_0_and_1_and_grows_with_a_hit(
    hits: list[bool], missed: int
) -> None:
    positives = max(1, sum(hits) + missed)
    right = np.array(hits)
    for kind in ("2007", "area"):
        before = average_precision(right, ~right, positives, kind)
        assert 0 <= before <= 1 + 1e-12
        more = np.array([True, *hits])
        assert (
            average_precision(more, ~more, positives + 1, kind)
            >= before * positives / (positives + 1) - 1e-12
        )


def test_coco_by_hand() -> None:
    """Right, wrong, right of two objects: precision 1 at recalls up to 0.5, of which there are 51
    of 101, then 2/3."""
    images = [_image((A, 1, False), (B, 1, False)), _image((C, 2, False))]
    found = [_found(0, (A, 0.9, 1), (C, 0.8, 1), (B, 0.7, 1)), _found(1)]
    measured = coco_metric(images, 2, found, masks=False)
    first = 100 * (51 + 50 * 2 / 3) / 101
    assert measured["box_ap"] == pytest.approx(first / 2, abs=1e-6)
    assert measured["box_ap50"] == pytest.approx(first / 2, abs=1e-6)
    assert measured["box_ap_large"] == -1  # there is no object of more than 96 x 96 pixels


def test_nothing_found_is_zero_and_images_that_were_not_looked_at_do_not_count() -> None:
    images = [_image((A, 1, False)), _image((B, 1, False))]
    assert coco_metric(images, 1, [_found(0)], masks=False)["box_ap"] == 0
    one = coco_metric(images, 1, [_found(0, (A, 0.9, 1))], masks=False)
    assert one["box_ap"] == pytest.approx(100)
    assert voc_metric(images, 1, [_found(0, (A, 0.9, 1))])["voc_ap"] == pytest.approx(100)


def test_pycocotools_on_the_file_itself_measures_the_same(tmp_path: Path) -> None:
    """Boxes and masks, crowds among them, numbers of categories that are not ours."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    file = coco_file(tmp_path, count=6)
    images, classes, _ = read_coco(str(file), str(tmp_path), "data.val_path", None, masks=True)
    random = np.random.default_rng(0)
    found, rows = [], []
    numbers = {1: 3, 2: 7}
    for at, one in enumerate(images):
        boxes = np.concatenate([one.boxes[:2], one.boxes[:1]]) + random.normal(0, 3, (3, 4))
        boxes = boxes.clip(0, 96).astype(np.float32)
        polygons = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
        masks = [run_lengths(polygon, one.size) for polygon in polygons]
        scores = random.uniform(size=3).astype(np.float32)
        labels = np.array([*one.labels[:2], 1], np.int64)
        found.append(Prediction(at, boxes, scores, labels, masks))
        for i, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            row = {"image_id": at + 1, "category_id": numbers[int(labels[i])]}
            row |= {"score": float(scores[i]), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            rows.append(row | {"segmentation": masks[i]})
    measured = coco_metric(images, len(classes), found, masks=True)
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        for kind, name, drop in (("bbox", "box", "segmentation"), ("segm", "mask", "bbox")):
            own = truth.loadRes([{k: v for k, v in row.items() if k != drop} for row in rows])
            evaluation = COCOeval(truth, own, kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            for place, key in enumerate(("ap", "ap50", "ap75", "ap_small", "ap_medium")):
                expected = evaluation.stats[place]
                assert 0 < expected < 1
                assert measured[f"{name}_{key}"] == pytest.approx(100 * expected, abs=1e-4)
    assert json.loads(file.read_text())["annotations"]
