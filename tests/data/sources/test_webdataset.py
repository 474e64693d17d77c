# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import pickle
import tarfile

import numpy as np
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.data.sources.shards import expand
from mixmask_solo.data.sources.webdataset import index_of
from support.tars import tar


def samples(png, names, first=0):
    members = []
    for i, name in enumerate(names, start=first):
        members += [(f"{name}.png", png(i)), (f"{name}.cls", str(i % 3).encode())]
    return members


def cfg(path, **data):
    return {"data": {"dataset": "custom", "format": "webdataset", "train_path": str(path)} | data}


def test_images_labels_and_names(tmp_path, png, picture):
    tar(tmp_path / "000000.tar", samples(png, ["a", "b", "c"]))
    tar(tmp_path / "000001.tar", samples(png, ["d", "e"], first=3))
    images = source(cfg(tmp_path), "train")
    assert images.labels.tolist() == [0, 1, 2, 0, 1]
    assert images.classes == ["0", "1", "2"]
    assert images.num_classes == 3
    for i in range(5):
        assert np.array_equal(np.asarray(images.image(i)), np.asarray(picture(i)))
        assert images.encoded(i).tobytes() == png(i)
    assert images.name(3) == f"{tmp_path / '000001.tar'} d.png"


@pytest.mark.parametrize("path", ["", "00000*.tar", "{000000..000001}.tar", "00000{0,1}.tar"])
def test_a_folder_a_pattern_or_a_list_in_braces(tmp_path, png, path):
    tar(tmp_path / "000000.tar", samples(png, ["a", "b"]))
    tar(tmp_path / "000001.tar", samples(png, ["c"], first=2))
    assert len(source(cfg(tmp_path / path), "train")) == 3


def test_a_shard_that_a_list_names_has_to_be_there(tmp_path, png):
    tar(tmp_path / "000000.tar", samples(png, ["a"]))
    with pytest.raises(ConfigError, match=r"000001\.tar is not there"):
        source(cfg(tmp_path / "{000000..000001}.tar"), "train")


def test_splits_in_one_folder_are_told_apart(tmp_path, png):
    tar(tmp_path / "train-0.tar", samples(png, ["a", "b", "c"]))
    tar(tmp_path / "val-0.tar", samples(png, ["d"]))
    block = cfg(tmp_path, val_path=str(tmp_path))
    assert len(source(block, "train")) == 3
    assert len(source(block, "val")) == 1


NAMES = [
    "plain",
    "with blank",
    'it\'s "quoted"',
    "übér-日本",
    "folder/deep x",
    "percent%20",
    "a" * 150,
]


@pytest.mark.parametrize("fmt", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_odd_names_also_from_the_index(tmp_path, png, fmt):
    tar(tmp_path / "odd one's.tar", samples(png, NAMES), fmt)
    first = source(cfg(tmp_path), "train")
    assert (tmp_path / "odd one's.index").is_file()
    again = source(cfg(tmp_path), "train")
    for images in (first, again):
        assert images.labels.tolist() == [i % 3 for i in range(len(NAMES))]
        assert [images.encoded(i).tobytes() for i in range(len(NAMES))] == [
            png(i) for i in range(len(NAMES))
        ]
    assert [first.name(i) for i in range(5)] == [again.name(i) for i in range(5)]


def test_labels_from_json_and_names_from_a_list(tmp_path, png):
    members = [("a.jpg.txt", b"no image"), ("a.png", png(0)), ("a.json", b'{"label": "dog"}')]
    members += [
        ("b.JPG", png(1)),
        ("b.cls", b"dog\n"),
        ("c.image.png", png(2)),
        ("c.cls", b" cat "),
    ]
    tar(tmp_path / "s.tar", members)
    (tmp_path / "classes.txt").write_text("cat\ndog\nübér\n", encoding="utf-8")
    for _ in range(2):  # read from the shard, then from what is kept beside it
        images = source(cfg(tmp_path), "train")
        assert images.labels.tolist() == [1, 1, 0]
        assert images.classes == ["cat", "dog", "übér"]


def test_names_in_another_encoding_are_refused(tmp_path, png):
    tar(tmp_path / "s.tar", samples(png, "a"))
    (tmp_path / "classes.txt").write_bytes("cat\nübér\n".encode("latin-1"))
    message = r"classes\.txt is no UTF-8 text: byte 0xfc at offset 4; save it in UTF-8"
    with pytest.raises(ConfigError, match=message):
        source(cfg(tmp_path), "train")
    (tmp_path / "classes.txt").write_bytes("cat\ndog\n".encode("utf-8-sig"))
    assert source(cfg(tmp_path), "train").classes == ["cat", "dog"]


def test_an_index_that_was_made_without_labels_is_made_anew_for_them(tmp_path, png):
    tar(tmp_path / "s.tar", [*samples(png, "ab"), ("c.png", png(2)), ("c.cls", b"\xff")])
    assert len(source(cfg(tmp_path, no_labels=True), "pretrain")) == 3
    with pytest.raises(ConfigError, match=r"c\.cls holds no label"):
        source(cfg(tmp_path), "train")
    tar(tmp_path / "s.tar", samples(png, "ab"))
    for no_labels, labels in ((True, [-1, -1]), (False, [0, 1]), (True, [-1, -1])):
        found = source(cfg(tmp_path, no_labels=no_labels), "pretrain")
        assert found.labels.tolist() == labels


def test_without_labels(tmp_path, png):
    tar(tmp_path / "s.tar", [("a.png", png(0)), ("b.png", png(1))])
    assert source(cfg(tmp_path), "pretrain").labels.tolist() == [-1, -1]
    assert source(cfg(tmp_path, no_labels=True), "pretrain").classes == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (b"seven", r"s\.tar: a\.png has label 'seven', which is none of the 2 known classes"),
        (b"-5", r"s\.tar: a\.png has label -5, give numbers from 0"),
        (b"\xff\xfe", "no label"),
    ],
)
def test_a_wrong_label_is_named(tmp_path, png, label, message):
    tar(tmp_path / "s.tar", [("a.png", png(0)), ("a.cls", label)])
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(ConfigError, match=message):
        source(cfg(tmp_path), "train")


def test_parts_of_a_sample_that_are_no_neighbours_are_named(tmp_path, png):
    """As ``tar cf s.tar *.png *.cls`` packs them: no image would have a label."""
    images = [(f"{name}.png", png(i)) for i, name in enumerate("ab")]
    tar(tmp_path / "s.tar", [*images, ("a.cls", b"0"), ("b.cls", b"1")])
    message = r"s\.tar: a\.cls lies apart from a\.png, .* pack the files sorted by name"
    for _ in range(2):
        with pytest.raises(ConfigError, match=message) as caught:
            source(cfg(tmp_path), "train")
        assert "\n" not in str(caught.value)
    (first, a), (second, b) = images  # one name twice is two samples, where each is whole
    twice = [(first, a), ("a.cls", b"0"), (second, b), ("b.cls", b"1"), (first, b), ("a.cls", b"1")]
    tar(tmp_path / "s.tar", twice)
    assert source(cfg(tmp_path), "train").labels.tolist() == [0, 1, 1]


def test_more_classes_than_the_data_set_has(tmp_path, png):
    tar(tmp_path / "s.tar", [("a.png", png(0)), ("a.cls", b"200")])
    with pytest.raises(
        ConfigError, match=r"s\.tar: a\.png has label 200, but tiny-imagenet has 200"
    ):
        source(cfg(tmp_path, dataset="tiny-imagenet"), "train")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_shard_that_was_cut_off_is_named(tmp_path, png, share):
    shard = tar(tmp_path / "s.tar", samples(png, "abcdefgh"))
    source(cfg(tmp_path), "train")  # an index of the whole is there
    last = index_of(shard).images[-1]
    with shard.open("r+b") as file:
        file.truncate(int((last.offset + last.size) * share))
    with pytest.raises(ConfigError, match=r"s\.tar is (damaged or cut off|no whole tar archive)"):
        source(cfg(tmp_path), "train")


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100, b"\x1f\x8b" + b"z" * 2000])
def test_what_is_no_tar_is_named(tmp_path, content):
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(ConfigError, match=r"s\.tar is "):
        source(cfg(tmp_path), "train")


def test_an_empty_shard_among_others_and_alone(tmp_path, png):
    tar(tmp_path / "0.tar", [])
    with pytest.raises(ConfigError, match="no image in its tar shards"):
        source(cfg(tmp_path), "train")
    tar(tmp_path / "1.tar", samples(png, ["a"]))
    assert len(source(cfg(tmp_path), "train")) == 1


def test_a_stale_or_broken_index_is_made_anew(tmp_path, png):
    shard = tar(tmp_path / "s.tar", samples(png, "ab"))
    source(cfg(tmp_path), "train")
    tar(shard, samples(png, "abcd"))
    os.utime(shard, ns=(0, (tmp_path / "s.index").stat().st_mtime_ns + 1))
    assert len(source(cfg(tmp_path), "train")) == 4
    whole = (tmp_path / "s.index").read_text()
    for text in ("", "{}", "[]", whole[:-9], whole.replace('"images": [[', '"images": [[1, ')):
        (tmp_path / "s.index").write_bytes(text.encode() + b"\n")
        assert len(source(cfg(tmp_path), "train")) == 4
        assert (tmp_path / "s.index").read_text() == whole
    (tmp_path / "s.index").write_bytes(b"\xff")
    assert len(source(cfg(tmp_path), "train")) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.index", "s.tar"]


def test_a_read_only_folder_will_do(tmp_path, png, monkeypatch):
    tar(tmp_path / "s.tar", samples(png, "abc"))

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert source(cfg(tmp_path), "train").labels.tolist() == [0, 1, 2]
    assert [p.name for p in tmp_path.iterdir()] == ["s.tar"]


def test_a_source_travels_to_other_processes(tmp_path, png):
    tar(tmp_path / "s.tar", samples(png, "abc"))
    images = source(cfg(tmp_path), "train")
    images.encoded(0)
    assert pickle.loads(pickle.dumps(images)).encoded(2).tobytes() == png(2)


def test_webdatasets_own_reader_agrees(tmp_path, png):
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "s.tar")) as writer:
        for i in range(4):
            writer.write({"__key__": f"{i:04d}", "png": png(i), "cls": i})
    images = source(cfg(tmp_path), "train")
    theirs = list(wds.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False))
    assert [s["png"] for s in theirs] == [images.encoded(i).tobytes() for i in range(4)]
    assert [int(s["cls"]) for s in theirs] == images.labels.tolist()


def test_braces():
    assert expand("a{08..11}b") == ["a08b", "a09b", "a10b", "a11b"]
    assert expand("{a,b}{1..2}") == ["a1", "a2", "b1", "b2"]
    assert expand("{3..1}") == ["3", "2", "1"]
    assert expand("plain.tar") == ["plain.tar"]
