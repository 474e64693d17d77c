# SPDX-License-Identifier: MIT
"""COCO's JSON: boxes, masks of either kind, crowds, and what is malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.coco import drawn, read_coco
from support.detection import coco_file

pytest.importorskip("pycocotools")


def _read(file: Path, *, masks: bool = True, classes: Any = None) -> Any:
    return read_coco(str(file), str(file.parent), "data.train_path", classes, masks=masks)


def test_boxes_labels_and_crowds(tmp_path: Path) -> None:
    images, classes, faults = _read(coco_file(tmp_path))
    assert classes == ["bar", "box"]  # by number, 3 before 7
    one = images[0]
    assert one.file == str(tmp_path / "1.jpg")
    assert one.boxes.tolist() == [[10, 10, 50, 40], [60, 20, 70, 40], [0, 0, 1, 64]]
    assert one.labels.tolist() == [2, 1, 1]
    assert one.crowd.tolist() == [False, False, True]
    assert not any(faults.told().values())


def test_masks_of_either_kind_are_drawn_at_any_size(tmp_path: Path) -> None:
    images, _, _ = _read(coco_file(tmp_path))
    assert images[0].segmentations is not None
    polygon, lengths, _ = images[0].segmentations
    for scale in (1, 2):
        size, factors = (96 * scale, 64 * scale), (float(scale), float(scale))
        box, bar = drawn(polygon, size, factors), drawn(lengths, size, factors)
        expected = np.zeros((64 * scale, 96 * scale), np.uint8)
        expected[20 * scale : 40 * scale, 60 * scale : 70 * scale] = 1
        assert np.array_equal(bar, expected)
        expected[:] = 0
        expected[10 * scale : 40 * scale, 10 * scale : 50 * scale] = 1
        assert np.array_equal(box, expected)


def test_a_box_without_extent_is_left_out_and_counted(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][2] = 0
    file.write_text(json.dumps(content))
    images, _, faults = _read(file)
    assert images[0].labels.tolist() == [1, 1]
    assert faults.boxes_without_extent == 1


@pytest.mark.parametrize(
    ("polygons", "left"),
    [([[1, 1, 9, 9], [10, 10, 50, 10, 50, 40]], 1), ([[1, 1, 9]], 0), ([[]], 0)],
)
def test_a_polygon_of_two_corners_or_half_a_one_is_none(
    tmp_path: Path, polygons: Any, left: int
) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = polygons
    file.write_text(json.dumps(content))
    images, _, faults = _read(file)
    assert len(images[0].labels) == 2 + left
    assert faults.masks_without_extent == 1 - left
    if left:
        assert images[0].segmentations is not None
        assert images[0].segmentations[0] == polygons[1:]
    assert len(_read(file, masks=False)[0][0].labels) == 3


Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("categories"), "no list of categories"),
        (lambda c: c["annotations"][0].pop("bbox"), "an entry lacks 'bbox'"),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 3 has no segmentation"),
        (lambda c: c["annotations"][0].update(category_id=99), "of category 99"),
        (lambda c: c["annotations"][0].update(image_id=99), "of image 99, which is not listed"),
        (lambda c: c["images"].clear() or c["annotations"].clear(), "lists no image"),
        (lambda c: c["images"][0].update(width="wide"), "an entry invalid literal"),
        (
            lambda c: c["images"].append(c["images"][0]),
            "1 images are listed twice, as that of id 1",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation=[1, 2, 3, 4, 5, 6]),
            "neither a list of",
        ),
        (lambda c: c["annotations"][0].update(segmentation="x"), "neither a list of polygons"),
        (lambda c: c["annotations"][1]["segmentation"].pop("counts"), "its image is 96x64: give"),
        (
            lambda c: c["annotations"][1]["segmentation"].update(size=[96, 64]),
            "of size [96, 64]",
        ),
        (lambda c: c["annotations"][1]["segmentation"]["counts"].pop(), "its image has 6144"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, change: Change, said: str) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ConfigError) as error:
        _read(file)
    assert said in str(error.value)
    assert "annotations.json" in str(error.value)


def test_neither_json_nor_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    for name, said in (("a.json", "cannot be read as JSON"), ("b.json", "no such file")):
        with pytest.raises(ConfigError, match=said):
            _read(tmp_path / name)


def test_validation_categories_are_the_training_file_s(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    with pytest.raises(ConfigError, match="categories bar"):
        _read(file, classes=["box"])
    images, _, _ = _read(file, classes=["box", "bar"])
    assert images[0].labels.tolist() == [1, 2, 2]
