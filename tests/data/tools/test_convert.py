# SPDX-License-Identifier: MIT
"""Data sets stored in another way, and back."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.data.sources.webdataset import tar_name, untar_name
from mixmask_solo.data.tools import convert, open_path
from mixmask_solo.data.tools.convert import Record
from mixmask_solo.data.tools.shards import cut

NAMES = (
    "plain.png",
    "two words.png",
    "it's.png",
    "größe 猫.png",
    "dots.in.name.png",
    "100%.png",
    ".hidden.png",
    "%20.png",
    "x" * 120 + ".png",
)


@pytest.fixture
def folder(tmp_path, class_folders, picture):
    root = tmp_path / "images"
    class_folders(root / "train", {"a": 5, "b c": 3, "d.e": 4})
    class_folders(root / "val", {"a": 2, "b c": 1, "d.e": 2})
    for i, name in enumerate(NAMES):
        picture(100 + i).save(root / "train" / "a" / name)
    (root / "train" / "a" / "deeper").mkdir()
    picture(200).save(root / "train" / "a" / "deeper" / "plain.png")
    return root


def content(root):
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix == ".png")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def run(path, to, target, **options):
    return convert(open_path(path), to, target, **options)


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize(
    "way", [("parquet",), ("webdataset",), ("parquet", "webdataset"), ("webdataset", "parquet")]
)
def test_there_and_back_is_exact(folder, tmp_path, way, seed):
    place = folder
    for number, target in enumerate((*way, "image_folder")):
        done = run(place, tmp_path / str(number), target, seed=seed)
        assert done.images == 22 + 5
        place = tmp_path / str(number)
    assert content(place) == content(folder)


@pytest.mark.parametrize("target", ["parquet", "webdataset"])
def test_classes_labels_and_pixels_stay(folder, tmp_path, target):
    run(folder, tmp_path / "out", target)
    before, after = open_path(folder), open_path(tmp_path / "out")
    for split in ("train", "val"):
        assert after[split].classes == before[split].classes == ["a", "b c", "d.e"]
        assert after[split].labels.tolist() == before[split].labels.tolist()
        for i in range(len(before[split])):
            assert np.array_equal(after[split].image(i), before[split].image(i))
    block = {"dataset": "custom", "format": target, "train_path": str(tmp_path / "out")}
    assert len(source({"data": block}, "train")) == 22


def test_the_parquet_layout_is_the_hubs(folder, tmp_path):
    run(folder, tmp_path / "out", "parquet")
    [file] = (tmp_path / "out").glob("train-*.parquet")
    assert file.name == "train-00000-of-00001.parquet"
    table = pq.read_table(file)
    assert table.column_names == ["image", "label"]
    row = table.slice(0, 1).to_pylist()[0]
    assert row["image"]["path"].startswith("a/")
    assert b'"names": ["a", "b c", "d.e"]' in table.schema.metadata[b"huggingface"]


@pytest.mark.parametrize("target", ["parquet", "webdataset"])
def test_an_interrupted_conversion_goes_on(folder, tmp_path, target, monkeypatch):
    whole = run(folder, tmp_path / "whole", target, max_shard_mb=0.0015)
    assert whole.files > 4

    class Stop(Exception):
        pass

    finish, calls = Record.finish, itertools.count(1)

    def stopping(*args):
        if next(calls) == 3:
            raise Stop
        finish(*args)

    monkeypatch.setattr(Record, "finish", stopping)
    with pytest.raises(Stop):
        run(folder, tmp_path / "out", target, max_shard_mb=0.0015)
    monkeypatch.setattr(Record, "finish", finish)
    named = list((tmp_path / "out").glob("train-*"))
    assert len(named) == 2
    named[0].write_bytes(named[0].read_bytes()[:-1])  # a finished one that was damaged since
    again = run(folder, tmp_path / "out", target, max_shard_mb=0.0015)
    assert again.files == whole.files - 1
    assert 0 < again.kept < again.images
    third = run(folder, tmp_path / "out", target, max_shard_mb=0.0015)
    assert (third.files, third.kept) == (0, third.images)
    for file in (tmp_path / "whole").glob(f"*.{'tar' if target == 'webdataset' else target}"):
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes()
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_conversion_joins_only_itself(folder, tmp_path):
    run(folder, tmp_path / "out", "parquet")
    for split in ("train", "val"):  # the same images by another name
        (folder / split / "a").rename(folder / split / "z")
    with pytest.raises(ConfigError, match=r"out holds another conversion \(labels "):
        run(folder, tmp_path / "out", "parquet")
    for split in ("train", "val"):
        (folder / split / "z").rename(folder / split / "a")
    with (
        FileLock(tmp_path / "out" / ".mixmask-convert.lock"),
        pytest.raises(ConfigError, match=r"another conversion is writing into .*out"),
    ):
        run(folder, tmp_path / "out", "parquet")
    assert run(folder, tmp_path / "out", "parquet").files == 0


def test_an_interrupted_folder_goes_on(folder, tmp_path):
    run(folder, tmp_path / "shards", "parquet")
    run(tmp_path / "shards", tmp_path / "out", "image_folder")
    shutil.rmtree(tmp_path / "out" / "val")
    again = run(tmp_path / "shards", tmp_path / "out", "image_folder")
    assert (again.files, again.kept) == (5, 22)
    assert content(tmp_path / "out") == content(folder)


def test_foreign_content_is_left_alone(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("do not lose")
    with pytest.raises(ConfigError, match="is not empty: give a new or empty folder"):
        run(folder, tmp_path / "out", "parquet")
    run(folder, tmp_path / "other", "parquet")
    with pytest.raises(ConfigError, match=r"holds another conversion \(shuffle None, now 1\)"):
        run(folder, tmp_path / "other", "parquet", seed=1)
    with pytest.raises(ConfigError, match=r"--to is 'parqet': choose .* \(did you mean"):
        run(folder, tmp_path / "third", "parqet")


def test_shuffling_mixes_the_classes_the_same_way_each_time(folder, tmp_path):
    for name in "xy":
        run(folder, tmp_path / name, "webdataset", seed=5)
    x, y = (open_path(tmp_path / name)["train"].labels.tolist() for name in "xy")
    assert x == y != sorted(x)


def test_two_suffixes_of_one_name_stay_two_images(tmp_path, picture):
    (tmp_path / "in" / "a").mkdir(parents=True)
    for number, suffix in enumerate(("bmp", "gif", "png")):
        picture(number).save(tmp_path / "in" / "a" / f"same.{suffix}")
    run(tmp_path / "in", tmp_path / "out", "webdataset")
    assert len(open_path(tmp_path / "out")["train"]) == 3


def test_images_without_labels(tmp_path, picture):
    (tmp_path / "in").mkdir()
    for i in range(3):
        picture(i).save(tmp_path / "in" / f"{i}.png")
    for target in ("parquet", "webdataset"):
        convert(open_path(tmp_path / "in", no_labels=True), tmp_path / target, target)
        again = open_path(tmp_path / target, no_labels=True)
        assert again["train"].labels.tolist() == [-1] * 3
        convert(again, tmp_path / f"{target}-back", "image_folder")
        assert content(tmp_path / f"{target}-back") == content(tmp_path / "in")


def test_a_shard_is_full_before_the_next_one_begins():
    shards = cut(np.array([4, 4, 4, 9, 30, 1]), 10)
    assert [shard.tolist() for shard in shards] == [[0, 1], [2], [3], [4], [5]]
    shuffled = np.concatenate(cut(np.arange(50), 100, seed=1))
    assert sorted(shuffled.tolist()) == list(range(50))


@pytest.mark.parametrize("name", [*NAMES, "line\nbreak.png", "%2E.png", "a/b.c/d.e.f"])
def test_names_survive_a_shard(name):
    inside = tar_name(name)
    assert untar_name(inside) == name
    assert inside.rpartition("/")[2].count(".") == 1
