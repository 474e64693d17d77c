# SPDX-License-Identifier: MIT
"""Whatever classes and images are called, a conversion stays in its folder and loses nothing."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.class_folders import folder_name
from mixmask_solo.data.tools import convert, open_path

ODD = [
    *("", ".", "..", "/", "/x", "a/b", "a_b", "a%2Fb", "%2F", "%-", "%", "a b", " a ", "-", "~"),
    *("train", "val", "test", "images", "data", ".hidden", "__MACOSX", "Thumbs.db", "a\nb", "a\0b"),
    *("../../x", "../x.png", "a/../../x", "x.png", "x.png/y.png", "2", "10", "\u2028", "A", "a"),
    *("\ufeffa", "classes.txt", ".mixmask-convert.json", ".0.partial", "00000001_x.png"),
]
name = st.one_of(st.sampled_from(ODD), st.text(max_size=8))
key = st.one_of(name, st.lists(name, max_size=3).map("/".join))
DATA = {
    "classes": st.lists(name, min_size=1, max_size=4, unique=True),
    "rows": st.lists(st.tuples(st.integers(0, 3), st.none() | key), min_size=1, max_size=6),
}


def png(number):
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), (number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(place, classes, rows):
    images = [{"bytes": png(i), "path": key} for i, (_, key) in enumerate(rows)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(images, kind)}
    features = {"image": {"_type": "Image"}}
    if classes:
        columns["label"] = [label % len(classes) for label, _ in rows]
        features["label"] = {"names": classes, "_type": "ClassLabel"}
    table = pa.table(columns)
    meta = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": meta}), place)


def red(source, index):
    return source.image(index).getpixel((0, 0))[0]


@given(**DATA)
@example(classes=["", "..", "/x", "."], rows=[(0, None), (1, None), (2, None), (3, "../../x.png")])
@example(classes=["a_b", "a/b", "a%2Fb"], rows=[(0, "x.png"), (1, "x.png"), (2, "x.png")])
@example(classes=["val", "train"], rows=[(0, "x/y.png"), (1, "x/y.png")])
@example(classes=["val", "train"], rows=[(0, "x/y.png")])
@example(classes=["train", "b"], rows=[(0, "x/y.png"), (1, "x.png")])
@example(classes=["Train", "seg_test"], rows=[(0, "x/y.png"), (1, "x.png")])
@example(classes=["a"], rows=[(0, "train/x.png"), (0, "test/x.png")])
@example(classes=["train", "b.png"], rows=[(0, "x/y.png"), (1, "x.png")])
@example(classes=["b", "images"], rows=[(0, "x")])
@example(classes=["classes.txt", ""], rows=[(0, "x"), (1, "//"), (1, "//x.png")])
@example(classes=["2", "10", "1"], rows=[(0, "/abs/x"), (1, None), (2, None)])
@example(classes=["a"], rows=[(0, k) for k in ("x.png", "00000002_x.png", "x.png", "x.png/y.png")])
@example(classes=["a"], rows=[(0, k) for k in ("x.png/y.png", "x.png", "", ".", "y" * 300)])
@example(classes=["a"], rows=[(0, "/".join("y" * 200 for _ in range(30)))])
def test_folders_of_any_classes_and_keys(classes, rows):
    with tempfile.TemporaryDirectory() as place:
        room = Path(place) / "a" / "b"
        room.mkdir(parents=True)
        parquet(room / "in.parquet", classes, rows)
        convert(open_path(room / "in.parquet"), room / "c" / "out", "image_folder")
        assert {p.name for p in Path(place).rglob("*") if not p.is_relative_to(room / "c")} == {
            *("a", "b", "in.parquet")
        }
        images = [p for p in (room / "c").rglob("*") if p.suffix == ".png" and p.is_file()]
        assert sorted(p.read_bytes() for p in images) == sorted(map(png, range(len(rows))))
        assert all(p.is_relative_to(room / "c" / "out") and not p.is_symlink() for p in images)
        back = open_path(room / "c" / "out")["train"]
        assert back.classes == classes
        found = {red(back, i): back.label(i) for i in range(len(back))}
        assert found == {i: label % len(classes) for i, (label, _) in enumerate(rows)}


@given(rows=DATA["rows"])
@example(rows=[(0, "train/x.png"), (0, "val/x.png"), (0, "train/deep/y.png")])
@example(rows=[(0, "train/a/x.png"), (0, "b/x.png")])
@example(rows=[(0, "seg_train/a/x.png"), (0, "seg_test/x.png")])
def test_folders_without_labels(rows):
    with tempfile.TemporaryDirectory() as place:
        parquet(Path(place) / "in.parquet", [], rows)
        given_path = open_path(Path(place) / "in.parquet", no_labels=True)
        convert(given_path, Path(place) / "out", "image_folder")
        back = open_path(Path(place) / "out", no_labels=True)["train"]
        assert sorted(red(back, i) for i in range(len(back))) == list(range(len(rows)))


@pytest.mark.parametrize("target", ["image_folder", "webdataset"])
def test_members_of_a_tar_that_lead_outside(tmp_path, target):
    keys = ("../../x", "/abs/x", "a/../../x", "..", "x", "a/x", "./x", ".hidden/x", "~/x")
    (tmp_path / "in").mkdir()
    with tarfile.open(tmp_path / "in" / "in.tar", "w") as archive:
        for number, key in enumerate(keys):
            for suffix, content in ((".png", png(number)), (".cls", b"%d" % (number % 2))):
                member = tarfile.TarInfo(key + suffix)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    before = open_path(tmp_path / "in" / "in.tar")["train"]
    (tmp_path / "c").mkdir()
    convert({"train": before}, tmp_path / "c" / "out", target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "in"]
    assert [p.name for p in (tmp_path / "c").iterdir()] == ["out"]
    back = open_path(tmp_path / "c" / "out")["train"]
    labels = [{red(s, i): s.label(i) for i in range(len(s))} for s in (before, back)]
    assert labels[0] == labels[1]
    if target == "webdataset":
        [shard] = (tmp_path / "c" / "out").glob("*.tar")
        with tarfile.open(shard) as archive:
            assert not [n for n in archive.getnames() if n.startswith("/") or ".." in n.split("/")]


@given(st.lists(name, unique=True, max_size=20))
def test_distinct_classes_have_distinct_folders(classes):
    folders = [folder_name(one) for one in classes]
    assert len(set(folders)) == len(classes)
    assert not [one for one in folders if "/" in one or one in ("", ".", "..")]


def test_usual_names_stay_as_they_are():
    for one in ("n01440764", "two words", "100% cotton", "größe 猫", "d.e", "a_b", "it's", "-"):
        assert folder_name(one) == one


def test_what_has_no_place_is_refused(tmp_path):
    parquet(tmp_path / "two.parquet", ["a", ""], [(0, None), (1, None)])
    with pytest.raises(ConfigError, match=r"class '' cannot stand in classes\.txt"):
        convert(open_path(tmp_path / "two.parquet"), tmp_path / "tars", "webdataset")
    parquet(tmp_path / "twice.parquet", ["a", "a", "b"], [(i, None) for i in range(3)])
    with pytest.raises(ConfigError, match=r"classes are called 'a'.*choose --to parquet"):
        convert(open_path(tmp_path / "twice.parquet"), tmp_path / "merged", "image_folder")
    assert not (tmp_path / "merged").exists()
    source = open_path(tmp_path / "two.parquet")["train"]
    source.labels = source.labels.copy()
    source.labels[1] = -1
    with pytest.raises(ConfigError, match=r"1 of the 2 train images has no label.*--to parquet"):
        convert({"train": source}, tmp_path / "folders", "image_folder")
    assert not (tmp_path / "folders").exists()


def test_classes_in_another_order_keep_their_labels(tmp_path):
    parquet(tmp_path / "in.parquet", ["dog", "cat"], [(0, "x.png"), (1, "y.png")])
    convert(open_path(tmp_path / "in.parquet"), tmp_path / "out", "image_folder")
    assert (tmp_path / "out" / "classes.txt").read_text() == "dog\ncat\n"
    back = open_path(tmp_path / "out")["train"]
    assert (back.classes, back.labels.tolist()) == (["dog", "cat"], [0, 1])
    (tmp_path / "out" / "bird").mkdir()  # then the list is that of other folders
    Image.new("RGB", (2, 2)).save(tmp_path / "out" / "bird" / "z.png")
    assert open_path(tmp_path / "out")["train"].classes == ["bird", "cat", "dog"]
