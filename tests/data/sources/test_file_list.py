# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source

ODD = ["plain.png", "with blank.png", 'it\'s "quoted".png', "übér 日本.png", "comma,semi;.png"]


def cfg(path, **data):
    return {"data": {"dataset": "custom", "format": "file_list", "train_path": str(path)} | data}


@pytest.fixture
def images(tmp_path, picture):
    for i, name in enumerate(ODD):
        picture(i).save(tmp_path / name)
    return tmp_path


def write(path, rows, form):
    if form == "csv":
        quoted = ['"' + name.replace('"', '""') + f'",x,{label}' for name, label in rows]
        text = "\n".join(["file,other,label", *quoted])
    else:
        text = "".join(f"{name}{form}{label}\n" for name, label in rows)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "form"), [("a.txt", " "), ("a.tsv", "\t"), ("a.csv", "csv"), ("a.lst", "  ")]
)
@pytest.mark.parametrize("labels", [[2, 0, 1, 1, 0], ["dog", "ant", "cat", "cat", "ant"]])
def test_paths_and_labels(images, picture, name, form, labels):
    rows = list(zip(ODD, labels, strict=True))
    found = source(cfg(write(images / name, rows, form)), "train")
    assert found.labels.tolist() == [2, 0, 1, 1, 0]
    assert found.classes == (["0", "1", "2"] if labels[0] == 2 else ["ant", "cat", "dog"])
    for i in range(len(ODD)):
        assert np.array_equal(np.asarray(found.image(i)), np.asarray(picture(i)))
        assert found.encoded(i).tobytes() == (images / ODD[i]).read_bytes()


def test_relative_to_another_folder_and_windows_line_ends(images, tmp_path):
    place = tmp_path / "lists"
    place.mkdir()
    (place / "a.txt").write_bytes(b"\xef\xbb\xbfplain.png 0\r\n\r\nwith blank.png 1\r\n")
    assert len(source(cfg(place / "a.txt", root=str(images)), "train")) == 2
    with pytest.raises(ConfigError, match=r"line 1 names .*plain\.png, which is not there"):
        source(cfg(place / "a.txt"), "train")


def test_validation_follows_the_training_classes(images):
    train = write(images / "t.txt", [("plain.png", "dog"), ("with blank.png", "cat")], " ")
    val = write(images / "v.txt", [("plain.png", "dog")], " ")
    block = cfg(train, val_path=str(val))
    classes = source(block, "train").classes
    from mixmask_solo.data.sources import read

    assert read(block["data"], "val", classes=classes).labels.tolist() == [1]
    write(images / "v.txt", [("plain.png", "cow")], " ")
    with pytest.raises(ConfigError, match="line 1 has label 'cow'"):
        read(block["data"], "val", classes=classes)


def test_without_labels(images):
    (images / "a.txt").write_text("plain.png\nwith blank.png\n")
    assert source(cfg(images / "a.txt", no_labels=True), "pretrain").labels.tolist() == [-1, -1]


@pytest.mark.parametrize("path", ["path", "img", "Image", "file_name", "image_path", "filepath"])
@pytest.mark.parametrize("label", ["label", "labels", "Fine_Label", "class", "target"])
def test_a_table_whose_columns_are_called_as_usual(images, path, label):
    (images / "a.csv").write_text(f"id,{path},{label}\n5,plain.png,1\n6,with blank.png,0\n")
    found = source(cfg(images / "a.csv"), "train")
    assert found.labels.tolist() == [1, 0]
    assert found.encoded(1).tobytes() == (images / "with blank.png").read_bytes()


@pytest.mark.parametrize("header", ["path,breed", "path"])
def test_a_table_without_a_column_of_labels_is_not_unlabelled_in_silence(images, header):
    row = "plain.png,1" if "," in header else "plain.png"
    (images / "a.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(
        ConfigError, match=r"no column label, .*data\.label_column, or set data\.no"
    ):
        source(cfg(images / "a.csv"), "train")
    found = source(cfg(images / "a.csv", no_labels=True), "pretrain")
    assert (found.labels.tolist(), found.classes) == ([-1], [])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "", "no image in the list"),
        ("a.txt", "plain.png 0\nplain.png\n", "line 2 holds no label"),
        ("a.txt", "plain.png 0\nplain.png x\n", "line 1 has label '0'"),
        ("a.txt", "plain.png -3\n", "line 1 has label -3, give numbers from 0"),
        ("a.csv", "name,label\nplain.png,0\n", "no column path, file"),
        ("a.csv", "path,label\nplain.png\n", "line 2 has 1 of 2 columns"),
        ("a.txt", "gone.png 0\n", "line 1 names .*gone.png"),
    ],
)
def test_what_is_wrong_with_a_list(images, name, text, message):
    (images / name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        source(cfg(images / name), "train")


def test_no_list_at_all(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        source(cfg(tmp_path / "a.txt"), "train")
