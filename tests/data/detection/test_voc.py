# SPDX-License-Identifier: MIT
"""Pascal VOC's layout against a tree that was made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.voc import VOC_CLASSES, read_voc
from support.detection import voc_tree


@pytest.fixture
def roots(tmp_path: Path) -> list[str]:
    """VOC2007 and VOC2012 of a few images."""
    first = voc_tree(
        tmp_path / "VOC2007",
        {
            "000001": [("dog", (1, 1, 96, 64), 0), ("person", (9, 5, 20, 30), 1)],
            "000002": [],
            "000003": [("cat", (504, 337, 504, 337), 0), ("cat", (2, 2, 5, 5), 0)],
        },
        {"trainval": ["000001", "000003"], "test": ["000002"], "dog_trainval": ["000001  1"]},
    )
    second = voc_tree(
        tmp_path / "VOC2012",
        {"2008_000002": [("cat", (3, 4, 10, 12), 0)]},
        {"trainval": ["2008_000002"]},
    )
    return [str(first), str(second)]


def test_both_years_corners_from_1_and_difficult_objects(roots: list[str]) -> None:
    images, classes, faults = read_voc(roots, ["trainval"], "data.train_path", VOC_CLASSES)
    assert classes == list(VOC_CLASSES)
    assert [Path(one.file).stem for one in images] == ["000001", "000003", "2008_000002"]
    first = images[0]
    assert first.size == (96, 64)
    assert np.array_equal(first.boxes, [[0, 0, 96, 64], [8, 4, 20, 30]])
    names = [VOC_CLASSES[label - 1] for label in first.labels]
    assert names == ["dog", "person"]
    assert first.difficult.tolist() == [False, True]
    assert images[1].boxes.tolist() == [[1, 1, 5, 5]]  # the other one has no extent
    assert faults.told()["boxes_without_extent"] == 1
    assert "000003" in faults.first[0]


@pytest.mark.parametrize("told", [True, False], ids=["of the size told", "of the file's size"])
def test_a_box_outside_its_image_is_left_out_and_counted(tmp_path: Path, told: bool) -> None:
    objects = [("cat", (97, 5, 120, 20), 0), ("cat", (90, 5, 120, 20), 0)]
    root = voc_tree(tmp_path, {"a": objects}, {"train": ["a"]})
    file = root / "Annotations" / "a.xml"
    if not told:
        file.write_text(file.read_text().replace("<width>96</width>", ""))
    [image], _, faults = read_voc([str(root)], ["train"], "data.train_path", None)
    assert image.size == (96, 64)
    assert image.boxes.tolist() == [[89, 4, 120, 20]]
    assert faults.boxes_without_extent == 1


def test_classes_are_those_that_occur_and_a_set_of_one_class_has_flags(roots: list[str]) -> None:
    images, classes, _ = read_voc(roots[:1], ["dog_trainval"], "data.train_path", None)
    assert [Path(one.file).stem for one in images] == ["000001"]
    assert classes == ["dog", "person"]


def test_an_image_that_two_sets_list_is_one_image(roots: list[str]) -> None:
    sets = ["trainval", "dog_trainval", "test"]
    images, _, _ = read_voc(roots[:1], sets, "data.train_path", None)
    assert [Path(one.file).stem for one in images] == ["000001", "000003", "000002"]


def test_names_may_have_spaces(roots: list[str]) -> None:
    """Where `cell 2` is no image, the line is of one called `cell`, with a flag."""
    root = Path(roots[0])
    text = (root / "Annotations/000001.xml").read_text()
    for name in ("cell 1", "cell", "a b"):
        (root / "Annotations" / f"{name}.xml").write_text(text)
    (root / "ImageSets/Main/spaces.txt").write_text("cell 1\ncell -1\na b\na b  1\n")
    images, _, _ = read_voc(roots[:1], ["spaces"], "data.train_path", None)
    assert [Path(one.file).stem for one in images] == ["cell 1", "cell", "a b"]


def test_numbers_as_other_tools_write_them(roots: list[str]) -> None:
    root = Path(roots[0])
    plain = read_voc(roots[:1], ["trainval"], "data.train_path", None)[0][0]
    _rewrite(root, "<width>", "<width>0")
    _rewrite(root, "</height>", ".0</height>")
    _rewrite(root, "<difficult>0", "<difficult>False")
    told = read_voc(roots[:1], ["trainval"], "data.train_path", None)[0][0]
    assert told.size == plain.size
    assert told.difficult.tolist() == plain.difficult.tolist()


def _rewrite(root: Path, old: str, new: str) -> None:
    file = root / "Annotations/000001.xml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda root: (root / "ImageSets").rename(root / "sets"), "no folder ImageSets/Main"),
        (lambda root: (root / "ImageSets/Main/trainval.txt").unlink(), "no set 'trainval'"),
        (lambda root: (root / "Annotations/000001.xml").unlink(), "000001.xml: no such file"),
        (
            lambda root: (root / "Annotations/000001.xml").write_text("<annotation><object>"),
            "000001.xml is no annotation of Pascal VOC's",
        ),
        (
            lambda root: (root / "Annotations/000001.xml").write_text(
                "<annotation><object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object>"
                "</annotation>"
            ),
            "000001.xml: an object without a name or the corners",
        ),
        (
            lambda root: (root / "Annotations/000001.xml").write_text(
                (root / "Annotations/000001.xml").read_text().replace("dog", "dgo")
            ),
            "class 'dgo' (did you mean dog?)",
        ),
        (
            lambda root: _rewrite(root, "<xmax>", "<xmax>1e300</xmax><xmax>"),
            "000001.xml: an object without a name or the corners of its box",
        ),
        (
            lambda root: _rewrite(root, "<xmax>", "<xmax>90000</xmax><xmax>"),
            "has a corner at 90000, far outside of its image of ",
        ),
        (lambda root: _rewrite(root, "<width>", "<width>-"), "000001.xml: a size of -"),
        (lambda root: _rewrite(root, "<width>", "<width>1.5</width><width>"), "a size of 1.5x"),
        (
            lambda root: _rewrite(root, "<difficult>", "<difficult>2</difficult><difficult>"),
            "has difficult '2'; give 0 or 1",
        ),
        (lambda root: _rewrite(root, "annotation>", "html>"), "its root is <html>"),
        (
            lambda root: _rewrite(root, "<annotation", '<?xml version="1.0" encoding="ANSI"?><a'),
            "000001.xml is no annotation of Pascal VOC's",
        ),
    ],
)
def test_what_is_wrong_is_named_in_one_line(roots: list[str], break_it: object, said: str) -> None:
    break_it(Path(roots[0]))  # type: ignore[operator]
    with pytest.raises(ConfigError) as error:
        read_voc(roots, ["trainval"], "data.train_path", VOC_CLASSES)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
