# SPDX-License-Identifier: MIT
"""Which columns and shards a table is read from."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.evaluation.run_knn import evaluation_data
from mixmask_solo.records.pretrained import Pretrained


def cfg(path, form="parquet", **data):
    return {"data": {"dataset": "custom", "format": form, "train_path": str(path)} | data}


def write(path, meta=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(columns.values())))
    kinds = {"struct": [{"bytes": b"x", "path": None}] * rows, "binary": [b"x"] * rows}
    made = pa.table({n: kinds.get(c[0], c) for n, c in columns.items()})
    if meta is not None:
        made = made.replace_schema_metadata(
            {"huggingface": json.dumps({"info": {"features": meta}})}
        )
    pq.write_table(made, path)
    return path


IMAGE = {"image": ["struct"] * 2}
TWO = {"a": ["binary"] * 2, "b": ["binary"] * 2, "label": [0, 1]}
NUMBERS = IMAGE | {"shape": [1, 0], "colour": [0, 1]}
CLASS = {"_type": "ClassLabel", "names": ["x", "y"]}


@pytest.mark.parametrize(
    ("columns", "data", "labels"),
    [
        (IMAGE | {"id": [5, 6], "width": [9, 9], "breed": [1, 0]}, {}, [1, 0]),
        (IMAGE | {"caption": ["a cat", "a dog"], "id": [5, 6]}, {}, [-1, -1]),
        (NUMBERS, {"label_column": "colour"}, [0, 1]),
        (NUMBERS | {"label": [1, 1]}, {}, [1, 1]),
        (TWO, {"image_column": "b"}, [0, 1]),
        ({"thumbnail": ["binary"] * 2, "photo": ["struct"] * 2, "target": [1, 0]}, {}, [1, 0]),
        ({"my.photo": ["binary"] * 2, "my.label": [1, 0]}, {}, [1, 0]),
    ],
)
def test_columns_are_found_by_type_or_named(tmp_path, columns, data, labels):
    found = source(cfg(write(tmp_path / "a.parquet", **columns), **data), "train")
    assert found.labels.tolist() == labels
    assert found.columns == tuple(columns)
    assert found.encoded(1).tobytes() == b"x"


IDS = {"image": ["struct"] * 4, "Unnamed: 0": [0, 1, 2, 3]}
SAMPLES = {"image": ["struct"] * 4, "text": list("wxyz"), "sample_idx": [7, 5, 6, 4]}
SIZES = {"jpg": ["binary"] * 4, "original_width": [9] * 4, "original_height": [8, 9, 8, 9]}


@pytest.mark.parametrize(
    ("columns", "labels"),
    [
        (IDS | {"text": list("wxyz")}, [-1] * 4),
        (SAMPLES, [-1] * 4),
        (SIZES | {"width": [1] * 4}, [-1] * 4),
        (SAMPLES | {"breed": [0, 1, 0, 1]}, [0, 1, 0, 1]),
        (IDS | {"label": [3, 1, 2, 0]}, [3, 1, 2, 0]),
    ],
)
@pytest.mark.parametrize("shards", [1, 2])
def test_numbers_of_rows_and_sizes_are_no_labels(tmp_path, columns, labels, shards):
    for number in range(shards):
        write(tmp_path / f"{number}.parquet", **columns)
    write(tmp_path / "9.parquet", **{name: column[:1] for name, column in columns.items()})
    found = source(cfg(tmp_path), "train")
    assert found.labels.tolist() == labels * shards + labels[:1]


def test_one_validation_image_a_class_has_labels(tmp_path):
    kind = {"image": ["struct"] * 6, "kind": [0, 1, 2] * 2}
    train = write(tmp_path / "train.parquet", **kind)
    val = write(tmp_path / "val.parquet", **{name: column[:3] for name, column in kind.items()})
    assert source(cfg(train, val_path=str(val)), "val").labels.tolist() == [0, 1, 2]


def test_two_columns_of_one_name_are_refused(tmp_path, picture):
    made = pa.table([pa.array([b"x"]), *[pa.array([0])] * 2], names=["image", "label", "label"])
    pq.write_table(made, tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=r"a\.parquet has 2 columns 'label': give each its own"):
        source(cfg(tmp_path), "train")
    picture(0).save(tmp_path / "x.png")
    (tmp_path / "a.csv").write_text("path,label,label\nx.png,0,1\n")
    with pytest.raises(ConfigError, match=r"its header line has 2 columns 'label'"):
        source(cfg(tmp_path / "a.csv", "file_list"), "train")


def test_what_the_datasets_library_declares_tells_columns_apart(tmp_path):
    meta = {"shape": CLASS, "colour": {"_type": "Value", "dtype": "int64"}}
    found = source(cfg(write(tmp_path / "a.parquet", meta, **NUMBERS)), "train")
    assert found.labels.tolist() == [1, 0]
    assert found.classes == ["x", "y"]


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        (TWO, {}, r"a\.parquet has columns a and b, .*the images: say which with data\.image_col"),
        (NUMBERS, {}, r"columns shape and colour, .*the labels: say which with data\.label_column"),
        (NUMBERS, {}, r"data\.label_column, or set data\.no_labels=true if none does"),
        (NUMBERS, {"label_column": "color"}, r"data\.label_column is 'color': .*image, shape and "),
        (NUMBERS, {"label_column": "color"}, r"did you mean colour\?"),
        (NUMBERS, {"image_column": "shape"}, r"data\.image_column is 'shape', which holds int64"),
    ],
)
def test_columns_that_nobody_can_choose_are_named(tmp_path, columns, data, message):
    path = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(ConfigError, match=message) as caught:
        source(cfg(path, **data), "train")
    assert "\n" not in str(caught.value)


def test_a_csv_list_has_columns_as_well(tmp_path, picture):
    picture(0).save(tmp_path / "x.png")
    (tmp_path / "a.csv").write_text("Where,kind,label\nx.png,dog,1\nx.png,,0\n")
    data = {"image_column": "Where", "label_column": "kind"}
    found = source(cfg(tmp_path / "a.csv", "file_list", **data), "train")
    assert found.labels.tolist() == [0, -1]
    assert found.columns == ("Where", "kind", "label")
    with pytest.raises(ConfigError, match=r"'kin': .*Where, kind and label \(did you mean kind"):
        source(cfg(tmp_path / "a.csv", "file_list", **data | {"label_column": "kin"}), "train")
    (tmp_path / "a.txt").write_text("x.png 0\n")
    with pytest.raises(ConfigError, match=r"a\.txt': only a \.csv list has columns"):
        source(cfg(tmp_path / "a.txt", "file_list", label_column="kind"), "train")
    with pytest.raises(ConfigError, match=r"data\.label_column is 'kind', but .* only Parquet"):
        source(cfg(tmp_path, "image_folder", label_column="kind"), "train")


def test_a_shard_that_is_missing_is_named(tmp_path, shard):
    for i in (0, 1, 2, 4):
        shard(tmp_path / f"train-{i:05d}-of-00005.parquet", [0, 1])
    for path in (tmp_path, tmp_path / "train-*"):
        with pytest.raises(ConfigError, match=r"/train-00003-of-00005\.parquet is not there"):
            source(cfg(path), "train")
    assert len(source(cfg(tmp_path / "train-0000[0-2]-*"), "train")) == 6  # asked for no more
    shard(tmp_path / "train-00003-of-00005.parquet", [0, 1])
    assert len(source(cfg(tmp_path), "train")) == 10
    shard(tmp_path / "train-00000-of-00001.parquet", [0, 1])
    with pytest.raises(ConfigError, match=r"train-00000-of-00001\.parquet and .* two sets"):
        source(cfg(tmp_path), "train")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"label": [0, 1]}, {"labels": [0, 1]}, r"b\.parquet: its label column is labels, that of"),
        (
            {"label": [0, 1]},
            {},
            r"b\.parquet: its label column is absent, that of .*a\.parquet l",
        ),
        ({"label": [0, 1]}, {"label": ["x", "y"]}, r"b\.parquet: its labels are texts, those of "),
        ({"label": [0, 1]}, {"meta": ["y", "x"]}, r"b\.parquet: its class names differ from those"),
    ],
)
def test_shards_that_disagree_are_named(tmp_path, first, second, message):
    names = second.pop("meta", None)
    write(tmp_path / "a.parquet", {"label": CLASS} if names else None, **IMAGE, **first)
    if names:
        second = first
    meta = {"label": CLASS | {"names": names}} if names else None
    write(tmp_path / "b.parquet", meta, **IMAGE, **second)
    with pytest.raises(ConfigError, match=message):
        source(cfg(tmp_path), "train")


def test_a_shard_that_says_nothing_fits_the_others(tmp_path):
    write(tmp_path / "a.parquet", **IMAGE, label=pa.nulls(2))
    write(tmp_path / "b.parquet", **IMAGE, label=["dog", "ant"])
    assert source(cfg(tmp_path), "train").labels.tolist() == [-1, -1, 1, 0]


def test_columns_of_the_pretraining_mean_nothing_in_folders(tmp_path, class_folders):
    folder = str(class_folders(tmp_path / "f", {"a": 1, "b": 1}))
    stored = {"dataset": "custom", "format": "parquet", "train_path": "x", "label_column": "kind"}
    pretrained = Pretrained(Path("x.ckpt"), {"data": stored}, {})
    given = {"train_path": folder, "val_path": folder, "format": "image_folder"}
    images = evaluation_data(pretrained, given, 1)
    assert images.opened.labels.tolist() == [0, 1]
    images = evaluation_data(pretrained, {"train_path": "y", "val_path": "y"}, 1)
    assert images.block["label_column"] == "kind"
