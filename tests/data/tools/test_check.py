# SPDX-License-Identifier: MIT
"""A whole data set read through."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image

from mixmask_solo.data.tools import check, convert, open_path


@pytest.fixture
def folder(tmp_path, class_folders, picture):
    root = tmp_path / "images"
    class_folders(root / "train", {"a": 4, "b": 3, "empty": 0})
    class_folders(root / "val", {"a": 1})
    train = root / "train"
    shutil.copy(train / "b" / "b_0.png", root / "val" / "a" / "seen.png")
    shutil.copy(train / "a" / "a_1.png", train / "a" / "again.png")
    (train / "a" / "a_0.png").write_bytes(b"torn")
    (train / "b" / "notes.txt").write_text("no image")
    (train / "b" / "x.heic").write_bytes(b"no image by name")
    picture(50, (300, 4)).convert("LA").save(train / "b" / "thin.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    picture(51).save(train / "b" / "turned.jpg", exif=exif)
    return root


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_and_what_is_odd(folder, workers):
    seen = []
    report = check(open_path(folder), workers=workers, advance=seen.append)
    train, val = report.splits["train"], report.splits["val"]
    assert sum(seen) == train.images + val.images == 10 + 2
    [damaged] = train.damaged
    assert damaged.name.endswith("a_0.png")
    assert damaged.reason.startswith("cannot be decoded")
    assert report.damaged == 1
    assert (train.classes, train.class_sizes, train.empty_classes) == (3, (0, 5, 5), ["empty"])
    assert train.widths == (12, 12, 300)
    assert train.formats == {"PNG": 8, "JPEG": 1}
    assert train.modes == {"RGB": 8, "LA": 1}
    assert train.passed_over == {".txt": 1, ".heic": 1}
    assert train.repeated == 1
    [(mine, theirs)] = report.shared
    assert mine.endswith("seen.png")
    assert theirs.endswith("b_0.png")
    remarks = " / ".join(train.odd)
    for word in ("alpha", "shorter side", "one side over 10", "EXIF orientation"):
        assert word in remarks
    assert all(count == 1 for count, _ in train.odd.values())
    assert not val.odd
    assert json.loads(json.dumps(report.as_dict()))["ok"] is False


@pytest.mark.parametrize("name", ["x.gif", "x.tiff", "x.webp", "x.png"])
def test_several_frames_are_odd_and_not_damaged(tmp_path, picture, name):
    (tmp_path / "a").mkdir()
    frames = [picture(i).convert("P") for i in range(3)]
    frames[0].save(tmp_path / "a" / name, save_all=True, append_images=frames[1:])
    [train] = check(open_path(tmp_path)).splits.values()
    assert not train.damaged
    assert [count for count, _ in train.odd.values()] == [1]
    assert "several frames: only the first is used" in train.odd


def test_a_damaged_second_page_is_no_damage_as_training_does_not_read_it(tmp_path, picture):
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x.tiff"
    picture(0).save(file, save_all=True, append_images=[picture(1)])
    whole = file.read_bytes()
    second = int.from_bytes(whole[4:8], "little")  # the first page's table of tags
    tags = int.from_bytes(whole[second : second + 2], "little")
    at = second + 2 + 12 * tags
    file.write_bytes(whole[:at] + (len(whole) + 999).to_bytes(4, "little") + whole[at + 4 :])
    [train] = check(open_path(tmp_path)).splits.values()
    assert not train.damaged
    assert any("later frames" in remark for remark in train.odd)


@pytest.mark.parametrize("target", ["parquet", "webdataset"])
def test_shards_tell_the_same_as_the_folder(folder, tmp_path, target):
    (folder / "train" / "empty").rmdir()
    convert(open_path(folder), tmp_path / "out", target)
    before, after = check(open_path(folder)), check(open_path(tmp_path / "out"))
    for split in ("train", "val"):
        for key in ("modes", "formats", "widths", "heights", "class_sizes", "images", "repeated"):
            old, new = (getattr(r.splits[split], key) for r in (before, after))
            assert old == new, key
        assert [d.reason[:17] for d in before.splits[split].damaged] == [
            d.reason[:17] for d in after.splits[split].damaged
        ]
    assert len(after.shared) == 1
