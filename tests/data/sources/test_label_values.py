# SPDX-License-Identifier: MIT
"""What lists and shards say of labels, in whatever words."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from support.tars import tar


def cfg(path, form="parquet", **data):
    return {"data": {"dataset": "custom", "format": form, "train_path": str(path)} | data}


@pytest.mark.parametrize(
    ("text", "labels", "classes"),
    [
        ("path,label\nx.png,2.0\nx.png,\nx.png,0\n", [2, -1, 0], ["0", "1", "2"]),
        ("path,label\nx.png,nan\nx.png,-1\nx.png,1\n", [-1, -1, 1], ["0", "1"]),
        ("path,label\nx.png,True\nx.png,true\n", [1, 1], ["False", "True"]),
        ("path,label\nx.png,\n", [-1], []),
        ("path,label\nx.png,dog\nx.png,\nx.png,ant\n", [1, -1, 0], ["ant", "dog"]),
        ("path,label\nx.png,0.5\nx.png,1\n", "line 2 has label 0.5, which is no whole number", 0),
        ("path,label\nx.png,0\nx.png,-2\n", "line 3 has label -2, give numbers from 0", 0),
        ("path,label\nx.png,0\nx.png,9999999999999999999999\n", "line 3 .*only 2 images", 0),
        ("path,label\nx.png,0\nx.png,10000000\n", "line 3 has label 10000000, but there are", 0),
    ],
)
def test_labels_of_a_list(tmp_path, picture, text, labels, classes):
    picture(0).save(tmp_path / "x.png")
    (tmp_path / "a.csv").write_text(text)
    if isinstance(labels, str):
        with pytest.raises(ConfigError, match=labels):
            source(cfg(tmp_path / "a.csv", "file_list"), "train")
        return
    found = source(cfg(tmp_path / "a.csv", "file_list"), "train")
    assert (found.labels.tolist(), found.classes) == (labels, classes)


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ([("0.json", b'{"label": null}'), ("1.json", b'{"label": 0}')], [-1, 0]),
        ([("0.json", b'{"label": NaN}'), ("1.cls", b"1.0")], [-1, 1]),
        ([("0.json", b'{"label": true}'), ("1.json", b'{"label": true}')], [1, 1]),
        ([("0.cls", b""), ("1.cls", b"dog")], [-1, 0]),
        ([("0.cls", b"0"), ("1.json", b'{"label": 0.5}')], r"s\.tar: 1\.png has label 0\.5, which"),
        ([("0.cls", b"-2"), ("1.cls", b"1")], r"s\.tar: 0\.png has label -2, give numbers"),
        ([("0.cls", b"0"), ("1.cls", b"9" * 30)], r"s\.tar: 1\.png has label 9{30}, but there are"),
        ([("0.json", b'{"label": [1]}'), ("1.cls", b"1")], r"0\.json holds no label: it is list"),
    ],
)
def test_labels_of_a_tar(tmp_path, png, said, labels):
    parts = [part for i, one in enumerate(said) for part in ((f"{i}.png", png(i)), one)]
    tar(tmp_path / "s.tar", parts)
    if isinstance(labels, str):
        with pytest.raises(ConfigError, match=labels):
            source(cfg(tmp_path, "webdataset"), "train")
        return
    found = source(cfg(tmp_path, "webdataset"), "train")
    assert found.labels.tolist() == labels
    assert "png" in found.columns


def test_a_fraction_keeps_unlabelled_images_in_proportion(tmp_path):
    labels = [0] * 40 + [1] * 40 + [-1] * 20
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [b"x"] * 100, "label": labels}), path)
    part = source(cfg(path, fraction=0.1), "train")
    assert np.bincount(part.labels + 1).tolist() == [2, 4, 4]
    pq.write_table(
        pa.table({"image": [b"x"] * 81, "label": labels[:81]}), path
    )  # one alone is no stratum
    assert np.bincount(source(cfg(path, fraction=0.1), "train").labels + 1).tolist() == [0, 4, 4]
