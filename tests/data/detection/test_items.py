# SPDX-License-Identifier: MIT
"""Sizes, mirrored boxes and masks, and the row of batches that steps are counted by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.data.detection.annotations import DetectionSource, Faults, trained_on
from mixmask_solo.data.detection.coco import read_coco
from mixmask_solo.data.detection.items import Sizes, StillItems, TrainingItems, collate
from mixmask_solo.data.detection.order import RoundBatches
from mixmask_solo.data.detection.voc import read_voc
from mixmask_solo.data.sources import ImageError
from mixmask_solo.data.tolerance import Reader, Tolerance
from support.detection import coco_file, small_voc, voc_tree


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((500, 375), 800, (1067, 800)),
        ((375, 500), 800, (800, 1067)),
        ((1000, 200), 800, (1333, 267)),  # the longer side decides
        ((640, 480), 240, (320, 240)),
    ],
)
def test_the_shorter_side_unless_the_longer_one_is_too_long(
    size: tuple[int, int], short: int, expected: tuple[int, int]
) -> None:
    assert Sizes((short,), 1333).of(size, short) == expected


def _items(folder: Path, flip: float, short: tuple[int, ...] = (128,)) -> TrainingItems:
    images, classes, faults = read_coco(
        str(coco_file(folder)), str(folder), "data.train_path", None, masks=True
    )
    reader = Reader(DetectionSource(images, classes, faults))
    return TrainingItems(reader, Sizes(short, 192, flip), seed=0, masks=True)


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_masks_lie_in_their_boxes_mirrored_or_not(tmp_path: Path, flip: float) -> None:
    pytest.importorskip("pycocotools")
    image, target = _items(tmp_path, flip)[(0, 1)]
    assert image.shape == (3, 128, 192)
    assert image.dtype == torch.uint8
    assert target["labels"].tolist() == [2, 1]  # no crowd
    box = [20.0, 20.0, 100.0, 80.0] if flip == 0 else [92.0, 20.0, 172.0, 80.0]
    assert target["boxes"][0].tolist() == box
    for mask, (x1, y1, x2, y2) in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
        assert mask[y1:y2, x1:x2].all()
        assert mask.sum() == (y2 - y1) * (x2 - x1)


def test_a_draw_depends_on_the_pass_and_the_image_alone(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    items, again = (_items(tmp_path, 0.5, (64, 96, 128)) for _ in range(2))
    drawn = [items[(turn, i)][0] for turn in range(3) for i in range(4)]
    assert len({tuple(x.shape) for x in drawn}) == 3
    assert all(torch.equal(x, again[(t, i)][0]) for t in range(3) for i in range(4)
               for x in [drawn[4 * t + i]])  # fmt: skip


def test_an_image_without_objects_is_measured_but_not_trained_on(tmp_path: Path) -> None:
    images = {"a": [("cat", (1, 1, 20, 20), 0)], "b": []}
    root = voc_tree(tmp_path, images, {"all": ["a", "b"]})
    read, classes, faults = read_voc([str(root)], ["all"], "data.train_path", None)
    assert [Path(one.file).stem for one in trained_on(read, faults)] == ["a"]
    assert faults.images_without_objects == 1
    still = StillItems(Reader(DetectionSource(read, classes, Faults())), Sizes((32,), 64))
    batch = collate([still[i] for i in range(2)])
    assert batch is not None
    assert [t["size"] for t in batch[1]] == [(96, 64)] * 2
    assert [tuple(x.shape) for x in batch[0]] == [(3, 32, 48)] * 2


def test_damaged_images_and_those_of_another_size_follow_the_policy(tmp_path: Path) -> None:
    root = small_voc(tmp_path)
    (root / "JPEGImages" / "000000.jpg").write_bytes(b"no image")
    xml = root / "Annotations" / "000001.xml"
    xml.write_text(xml.read_text().replace("<width>96", "<width>95"))
    read, classes, faults = read_voc([str(root)], ["train"], "data.train_path", None)
    source = DetectionSource(read, classes, faults)
    with pytest.raises(ImageError, match="96x64, its annotation says 95x64"):
        source.image(1)
    tolerance = Tolerance("skip", 5)
    reader = Reader(source, tolerance)
    items = TrainingItems(reader, Sizes((32,), 64), seed=0, masks=False)
    assert all(items[(0, i)][1]["boxes"].shape == (1, 4) for i in range(3))  # 000002 in their place
    still = StillItems(reader, Sizes((32,), 64))
    assert collate([still[0], still[1]]) is None
    assert len(tolerance.damaged()) == 2


@given(
    count=st.integers(1, 12),
    batch=st.integers(1, 5),
    world=st.integers(1, 3),
    length=st.integers(1, 6),
)
def test_rounds_are_pieces_of_one_row_of_whole_passes(
    count: int, batch: int, world: int, length: int
) -> None:
    source = DetectionSource([_blank()] * count, ["a"], Faults())

    def row(rounds: int, size: int) -> list[tuple[int, int]]:
        parts = [
            RoundBatches(source, batch, seed=3, rank=r, world=world, length=size)
            for r in range(world)
        ]
        found = []
        for number in range(rounds):
            for together in zip(*(p.since(number, 0) for p in parts), strict=True):
                assert all(len(own) == batch for own in together)
                found += [key for own in together for key in own]
        return found

    keys = row(6, length)
    assert keys == row(1, 6 * length)  # whatever the rounds are
    for turn in range(len(keys) // count):
        images = [index for t, index in keys if t == turn]
        assert sorted(images) == list(range(count))
    resumed = RoundBatches(source, batch, seed=3, length=length)
    whole = list(resumed.since(1, 0))
    assert list(resumed.since(1, length // 2)) == whole[length // 2 :]


def _blank() -> object:
    from mixmask_solo.data.detection.annotations import Annotated

    none = np.zeros(0, bool)
    return Annotated("x", (1, 1), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), none, none)
