# SPDX-License-Identifier: MIT
"""Texts that are numbers, names or nothing, where the classes are known and where they are not."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.data.sources import read
from support.tars import tar


def labels_of(tmp_path, png, form, texts, classes=None):
    """Labels and classes of a split whose images are labelled with these texts."""
    if form == "file_list":
        path = tmp_path / "a.csv"
        (tmp_path / "x.png").write_bytes(png(0))
        path.write_text("path,label\n" + "".join(f"x.png,{text}\n" for text in texts))
    elif form == "webdataset":
        path = tmp_path / "a.tar"
        parts = [((f"{i}.png", png(i)), (f"{i}.cls", t.encode())) for i, t in enumerate(texts)]
        tar(path, [part for pair in parts for part in pair])
    else:
        path = tmp_path / "a.parquet"
        pq.write_table(
            pa.table({"image": [png(i) for i in range(len(texts))], "label": texts}), path
        )
    split = "train" if classes is None else "val"
    block = {"dataset": "custom", "format": form, f"{split}_path": str(path)}
    found = read(block, split, classes=classes)
    return found.labels.tolist(), found.classes


@pytest.mark.parametrize("form", ["file_list", "webdataset", "parquet"])
@pytest.mark.parametrize(
    ("texts", "classes", "labels"),
    [
        (["ant", "nan", "dog", "NaN"], None, [0, -1, 1, -1]),
        (["ant", "-1.0", "dog", "-1"], None, [0, -1, 1, -1]),
        (["ant", "1.5", "dog"], None, "has label '1.5', but others are names"),
        (["ant", "2.0", "dog"], None, "has label '2.0', but others are names"),
        (["cat", "1"], ["cat", "dog"], "has label '1', but others are names"),
        (["cat", "nan", "", "dog"], ["cat", "dog"], [0, -1, -1, 1]),
        (["1", "0", "-1"], ["cat", "dog"], [1, 0, -1]),
        (["1", "2", "0"], ["1", "10", "2"], [1, 2, 0]),  # numbers, not the classes of that name
        (["false", "TRUE"], ["False", "True"], [0, 1]),
        (["True", "False"], ["True", "False"], [0, 1]),
    ],
)
def test_a_text_is_a_number_a_name_or_nothing(tmp_path, png, form, texts, classes, labels):
    if isinstance(labels, str):
        with pytest.raises(ConfigError, match=labels) as caught:
            labels_of(tmp_path, png, form, texts, classes)
        assert "\n" not in str(caught.value)
        return
    found = labels_of(tmp_path, png, form, texts, classes)
    named = texts[0] == "ant"
    assert found == (labels, classes or (["ant", "dog"] if named else None))


def test_numbers_beside_other_classes_than_those_of_training(tmp_path, png):
    for split, names in (("train", "a\nb\nc\n"), ("val", "b\nc\n")):
        tar(tmp_path / split / "s.tar", [("x.png", png(0)), ("x.cls", b"1")])
        (tmp_path / split / "classes.txt").write_text(names)
    paths = {f"{split}_path": str(tmp_path / split) for split in ("train", "val")}
    cfg = {"data": {"dataset": "custom", "format": "webdataset", **paths}}
    with pytest.raises(ConfigError, match=r"data\.val_path is .*classes are not those of the trai"):
        source(cfg, "val")
    tar(tmp_path / "val" / "s.tar", [("x.png", png(0)), ("x.cls", b"c")])
    assert source(cfg, "val").labels.tolist() == [2]


def test_the_validation_split_is_numbered_by_the_training_classes(tmp_path, class_folders):
    class_folders(tmp_path / "train", {"a": 1, "b": 1, "c": 1})
    class_folders(tmp_path / "val", {"b": 1, "c": 1})
    paths = {f"{split}_path": str(tmp_path / split) for split in ("train", "val")}
    found = source({"data": {"dataset": "custom", **paths}}, "val")
    assert (found.labels.tolist(), found.classes) == ([1, 2], ["a", "b", "c"])
