# SPDX-License-Identifier: MIT
"""COCO's JSON: boxes, masks of either kind, crowds, and what is malformed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.coco import read_coco
from mixmask_solo.data.detection.coco_masks import _runs, drawn
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
        assert [p.tolist() for p in images[0].segmentations[0]] == polygons[1:]
    assert len(_read(file, masks=False)[0][0].labels) == 3


def _polygon(content: dict[str, Any], polygon: list[Any]) -> None:
    content["annotations"][0]["segmentation"] = [polygon]


def _lengths(content: dict[str, Any], counts: Any) -> None:
    content["annotations"][1]["segmentation"]["counts"] = counts


NAN, INF = float("nan"), float("inf")
Change = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("categories"), "no list of categories"),
        (lambda c: c["annotations"][0].pop("bbox"), "annotation 3 has no bbox"),
        (lambda c: c["annotations"][0].pop("segmentation"), "annotation 3 has no segmentation"),
        (lambda c: c["annotations"][0].update(category_id=99), "of category 99"),
        (lambda c: c["annotations"][0].update(image_id=99), "of image 99, which is not listed"),
        (lambda c: c["images"].clear() or c["annotations"].clear(), "lists no image"),
        (lambda c: c["images"][0].update(width="wide"), "image 1 has width 'wide' and height 64"),
        (
            lambda c: c["images"].append(c["images"][0]),
            "the image of id 1 is listed 2 times",
        ),
        (
            lambda c: c["annotations"][0].update(segmentation=[1, 2, 3, 4, 5, 6]),
            "neither a list of",
        ),
        (lambda c: c["annotations"][0].update(segmentation="x"), "neither a list of polygons"),
        (lambda c: c["annotations"][1]["segmentation"].pop("counts"), "4 has broken run lengths"),
        (
            lambda c: c["annotations"][1]["segmentation"].update(size=[96, 64]),
            "of size [96, 64]",
        ),
        (lambda c: c["annotations"][1]["segmentation"]["counts"].pop(), "its image has 6144"),
        (
            lambda c: c["categories"].append({"id": 7, "name": "other"}),
            "the category of id 7 is listed 2 times",
        ),
        (
            lambda c: c["categories"].append({"id": 8, "name": "box"}),
            "the category of name 'box' is listed 2 times",
        ),
        (lambda c: c["categories"][0].update(name=None), "has name None: give a text"),
        (lambda c: c["categories"][0].update(id="7"), "category '7' has id '7': give a whole"),
        (lambda c: c["annotations"][0].update(iscrowd="0"), "3 has iscrowd '0': give 0 or 1"),
        (lambda c: c["annotations"][0].update(iscrowd=2), "iscrowd 2: give 0 or 1"),
        (lambda c: c["annotations"][0].update(iscrowd=[]), "iscrowd []: give 0 or 1"),
        (lambda c: c["annotations"][0].update(area="12"), "annotation 3 has area '12'"),
        (lambda c: c["annotations"][0].update(area=NAN), "annotation 3 has area nan"),
        (lambda c: c["annotations"][0].update(category_id=None), "category_id None: give a whole"),
        (lambda c: c["annotations"][0].update(bbox=None), "annotation 3 has bbox None: give four"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "bbox [1, 2, 3]: give four finite"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, INF, 9]), "bbox [0, 0, inf, 9]: give"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, 10**99, 9]), "give four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox=["0", 0, 9, 9]), "give four finite numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1e9, 0, 9, 9]), "1e+09 in its bbox, far outs"),
        (lambda c: c["annotations"][0].update(bbox=[-9e8, 0, 9e8, 9]), "-9e+08 in its bbox, far"),
        (lambda c: c["annotations"][0].update(segmentation=None), "3 has no segmentation"),
        (lambda c: c["annotations"][0].update(segmentation={}), "3 has run lengths of size None"),
        (lambda c: c["annotations"][0].update(image_id="1"), "of image '1', which is not listed"),
        (lambda c: c["annotations"][0].update(image_id=[1]), "of image [1], which is not listed"),
        (lambda c: c["annotations"].append(3), "annotations is no list of objects"),
        (lambda c: c.update(images={"1": {}}), "images is no list of objects"),
        (lambda c: c["images"][0].update(file_name=None), "image 1 has file_name None: give a te"),
        (lambda c: c["images"][0].update(id=[1]), "image [1] has id [1]: give a number or a text"),
        (lambda c: c["images"][0].update(width=-96), "image 1 has width -96 and height 64"),
        (lambda c: c["images"][0].update(width=1.5), "image 1 has width 1.5: give a whole number"),
        (lambda c: _polygon(c, [1, 1, NAN, 1, 9, 9]), "annotation 3 has nan in a polygon: give"),
        (lambda c: _polygon(c, [1, 1, INF, 1, 9, 9]), "annotation 3 has inf in a polygon: give"),
        (lambda c: _polygon(c, ["1", 1, 9, 1, 9, 9]), "annotation 3 has '1' in a polygon: give"),
        (lambda c: _polygon(c, [None, 1, 9, 1, 9, 9]), "annotation 3 has None in a polygon: give"),
        (lambda c: _polygon(c, [1, 1, [9], 1, 9, 9]), "annotation 3 has [9] in a polygon: give"),
        (lambda c: _polygon(c, [1, 1, 1e9, 1, 9, 9]), "1e+09 in a polygon, far outside of its"),
        (lambda c: _lengths(c, "!!garbage"), "annotation 4 has broken run lengths"),
        (lambda c: _lengths(c, "P"), "annotation 4 has broken run lengths"),  # goes on, and ends
        (lambda c: _lengths(c, ""), "annotation 4 has run lengths of 0 pixels"),
        (lambda c: _lengths(c, [-6144, 12288]), "annotation 4 has broken run lengths"),
        (lambda c: _lengths(c, [6143.5, 0.5]), "annotation 4 has broken run lengths"),
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


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [64, 96], "counts": [6144]},
        {"size": [64, 96], "counts": [6144, 0]},
        {"size": [64, 96], "counts": "PP6"},
        [[100, 10, 120, 10, 120, 40]],  # beside its image
        [[10, 10, 10, 20, 10, 30]],
        [],
    ],
)
def test_a_mask_without_a_pixel_is_left_out_and_counted(tmp_path: Path, segmentation: Any) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = segmentation
    file.write_text(json.dumps(content))
    images, _, faults = _read(file)
    assert images[0].labels.tolist() == [1, 1]
    assert faults.masks_without_extent == 1
    assert faults.first == ["1.jpg: annotation 3"]


@settings(max_examples=200, deadline=None)
@given(hypothesis_numpy.arrays(np.uint8, (9, 7), elements=st.integers(0, 1)))
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(mask: Any) -> None:
    from pycocotools import mask as masks

    told = masks.encode(np.asfortranarray(mask))
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
    runs = np.diff([0, *edges, len(flat)]).tolist()
    assert _runs(told["counts"].decode()) == runs
    assert masks.decode(told).tolist() == mask.tolist()


def test_an_image_that_tells_no_size_has_that_of_its_file(tmp_path: Path) -> None:
    """COCO's metric draws masks at it; 0x0 made another AP of them."""
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    content["images"][0].update(height=0)
    content["images"][1].pop("width")
    file.write_text(json.dumps(content))
    for masks in (True, False):
        images, _, _ = _read(file, masks=masks)
        assert [one.size for one in images[:2]] == [(96, 64)] * 2
        assert len(images[0].boxes) == 3
    (tmp_path / "1.jpg").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"image 1 tells no size, and '.*1\.jpg', whose masks"):
        _read(file)
    assert _read(file, masks=False)[0][0].size == (0, 0)


def test_whole_numbers_as_floats_are_run_lengths(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    lengths = content["annotations"][1]["segmentation"]
    wanted = list(lengths["counts"])
    lengths["counts"] = [float(run) for run in wanted]
    file.write_text(json.dumps(content))
    segmentations = _read(file)[0][0].segmentations
    assert segmentations is not None
    assert segmentations[1] == {"size": [64, 96], "counts": wanted}
    assert drawn(segmentations[1], (96, 64), (1, 1)).sum() == 200


def test_areas_are_the_files_where_it_tells_them(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    content["annotations"][0]["area"] = 0
    content["annotations"][1].pop("area")
    file.write_text(json.dumps(content))
    assert _read(file)[0][0].areas.tolist() == [0, 200, 64]


def test_images_in_no_folder(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    with pytest.raises(ConfigError, match="train_images is 'none': no such folder; give"):
        read_coco(str(file), "none", "data.train_path", None, masks=True)


def test_a_crowd_by_truth_or_number(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    content = json.loads(file.read_text())
    for told, each in zip((True, 0.0, None), content["annotations"][:3], strict=True):
        each["iscrowd"] = told
    file.write_text(json.dumps(content))
    assert _read(file)[0][0].crowd.tolist() == [True, False, False]


def test_neither_json_nor_there(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    for name, said in (("a.json", "cannot be read as JSON"), ("b.json", "no such file")):
        with pytest.raises(ConfigError, match=said):
            _read(tmp_path / name)


def test_validation_categories_are_the_training_file_s(tmp_path: Path) -> None:
    file = coco_file(tmp_path)
    with pytest.raises(
        ConfigError, match="categories bar, none of the classes that are trained on, box: set"
    ):
        _read(file, classes=["box"])
    images, _, _ = _read(file, classes=["box", "bar"])
    assert images[0].labels.tolist() == [1, 2, 2]
