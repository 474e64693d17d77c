# SPDX-License-Identifier: MIT
"""Tables and shards as people have them: read alike by every decoder, or refused in one line."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_classification, source
from support.tars import tar

NAN = float("nan")
DECODERS = ("pil", "resident", "dali")
ABC = ["ant", "bee", "cat"]

# each column of four rows, and its labels and classes, or what the line says
COLUMNS = {
    "int64": (pa.array([2, 0, 1, 3]), [2, 0, 1, 3], list("0123")),
    "int8": (pa.array([1, 0, 1, 0], pa.int8()), [1, 0, 1, 0], ["0", "1"]),
    "uint64": (pa.array([1, 0, 2, 2], pa.uint64()), [1, 0, 2, 2], list("012")),
    "null among numbers": (pa.array([1, None, 0, 1]), [1, -1, 0, 1], ["0", "1"]),
    "null in uint8": (pa.array([1, None, 0, 1], pa.uint8()), [1, -1, 0, 1], ["0", "1"]),
    "minus one": (pa.array([1, -1, 0, -1]), [1, -1, 0, -1], ["0", "1"]),
    "nothing": (pa.nulls(4), [-1] * 4, []),
    "only nulls": (pa.array([None] * 4, pa.string()), [-1] * 4, []),
    "boolean": (pa.array([True, True, None, True]), [1, 1, -1, 1], ["False", "True"]),
    "names": (pa.array(["cat", "ant", "bee", "ant"]), [2, 0, 1, 0], ABC),
    "large names, some empty": (
        pa.array(["cat", "", None, "ant"], pa.large_string()),
        [1, -1, -1, 0],
        ["ant", "cat"],
    ),
    "dictionary": (
        pa.array(["cat", "ant", None, "bee"]).dictionary_encode(),
        [2, 0, -1, 1],
        ABC,
    ),
    "bytes of names": (pa.array([b"cat", b"ant", b"bee", b"ant"]), [2, 0, 1, 0], ABC),
    "numbers as text": (pa.array(["2", "10", "-1", "0"]), [2, 10, -1, 0], None),
    "whole floats": (pa.array([1.0, NAN, None, 0.0]), [1, -1, -1, 0], ["0", "1"]),
    "decimal": (pa.array([Decimal("1.00"), None, Decimal("0.00"), None]), [1, -1, 0, -1], None),
    "fraction": (pa.array([1.0, 0.5, 0, 1]), "a.parquet row 1 has label 0.5, which is no whole", 0),
    "below": (pa.array([1, 0, 0, -2]), "a.parquet row 3 has label -2, give numbers from 0", 0),
    "beyond the images": (
        pa.array([1, 0, 10_000_000, 0]),
        "a.parquet row 2 has label 10000000, but there are only 4 images",
        0,
    ),
    "absurd": (
        pa.array([1, 0, 0, 2**63 + 5], pa.uint64()),
        "a.parquet row 3 has label 9223372036854775813, but there are only 4 images",
        0,
    ),
    "mixed": (pa.array(["cat", "1", "b", "c"]), "a.parquet row 1 has label '1', but others are", 0),
    "lists": (pa.array([[1], [0], [1], [0]]), "a.parquet row 0 has a label of type list<", 0),
}


@pytest.fixture
def four(picture):
    """Four images as files of JPEG, which DALI decodes itself."""
    files = []
    for i in range(4):
        buffer = io.BytesIO()
        picture(i, (32, 32)).resize((8, 8)).resize((32, 32)).save(buffer, "JPEG", quality=95)
        files.append(buffer.getvalue())
    return files


def seen(path, form, **data):
    """The source, and its un-augmented images in grey levels as a decoder's loader gives them."""
    storage = "webdataset" if any(path.glob("*.tar")) else "parquet"
    block = {"dataset": "custom", "train_path": str(path), "num_workers": 0, "storage": storage}
    block |= {"format": storage if form == "pil" else form} | data
    if form == "pil":
        del block["storage"]
    unit = {"crop_size": 32, "mean": [0.0] * 3, "std": [1.0] * 3}
    cfg = {"data": block | {"augmentations": unit}, "optimizer": {"batch_size": 2}}
    images = build_classification(cfg | {"dali": {"device": "cpu"}})
    batches = list(images.in_order(images.opened, shard=False))
    labels = torch.cat([batch[1] for batch in batches])
    assert labels.tolist() == images.opened.labels.tolist()
    return images.opened, torch.cat([batch[0] for batch in batches]) * 255


def table(path, files, columns):
    pq.write_table(pa.table({"image": [{"bytes": f, "path": None} for f in files]} | columns), path)


@pytest.mark.parametrize("form", DECODERS)
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_labels(tmp_path, four, kind, form):
    if form == "dali":
        pytest.importorskip("nvidia.dali")
    column, expected, classes = COLUMNS[kind]
    table(tmp_path / "a.parquet", four, {"label": column})
    count = {"num_classes": 11} if kind == "numbers as text" else {}
    if isinstance(expected, str):
        with pytest.raises(ConfigError, match=expected.replace("[", r"\[")) as caught:
            seen(tmp_path / "a.parquet", form)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "a.parquet") in str(caught.value)
        return
    block = {"dataset": "custom", "format": "parquet", "train_path": str(tmp_path / "a.parquet")}
    found = source({"data": block | count}, "train")
    assert found.labels.tolist() == expected
    labelled = [label for label in expected if label >= 0]
    if labelled:
        assert seen(tmp_path / "a.parquet", form, **count)[0].labels.tolist() == labelled
    else:
        with pytest.raises(ConfigError, match="none of its 4 images has a label"):
            seen(tmp_path / "a.parquet", form, **count)
    assert found.classes == (classes or [str(i) for i in range(max(expected) + 1)])
    assert found.columns == ("image", "label")


def parquet_renamed(root, files):
    images = [{"bytes": f, "path": None} for f in files]
    made = pa.table({"id": [7, 8, 9, 10], "img": images, "coarse_label": [0] * 4})
    meta = {
        "img": {"_type": "Image"},
        "coarse_label": {"_type": "ClassLabel", "names": ["animal"]},
        "fine_label": {"_type": "ClassLabel", "names": ABC},
    }
    made = made.append_column("fine_label", pa.array([2, 0, 1, 0]))
    described = json.dumps({"info": {"features": meta}})
    pq.write_table(made.replace_schema_metadata({"huggingface": described}), root / "a.parquet")


def parquet_by_type(root, files):
    made = pa.table({"name": list("wxyz"), "photo": pa.array(files), "kind": [2, 0, 1, 0]})
    pq.write_table(made, root / "a.parquet")


def parquet_in_shards(root, files):
    for i in range(4):
        label = {"label": [(2, 0, 1, 0)[i]]}
        table(root / f"train-{i:05d}-of-00004.parquet", files[i : i + 1], label)


def tar_numbers(root, files):
    members = []
    for i, label in enumerate((b"2", b"0", b"1", b"0")):
        members += [(f"{i}.jpg", files[i]), (f"{i}.cls", label)]
    tar(root / "a.tar", members)


def tar_names(root, files):
    for i, label in enumerate(("cat", "ant", "bee", "ant")):
        said = json.dumps({"label": label}).encode()
        tar(root / f"a-{i:05d}-of-00004.tar", [(f"{i}.jpg", files[i]), (f"{i}.json", said)])


def tar_of_dotted_names(root, files):
    members = []
    for i, label in enumerate((b"2", b"0", b"1", b"0")):
        members += [(f"n01.v{i}.jpg", files[i]), (f"n01.v{i}.cls", label)]
    tar(root / "a.tar", members)


def tar_with_masks(root, files):
    members = []
    for i, label in enumerate((b"2", b"0", b"1", b"0")):
        members += [(f"{i}.seg.png", b"mask"), (f"{i}.JPG", files[i]), (f"{i}.cls", label)]
    tar(root / "a.tar", members)


LAYOUTS = [
    *(parquet_renamed, parquet_by_type, parquet_in_shards),
    *(tar_numbers, tar_names, tar_of_dotted_names, tar_with_masks),
]


@pytest.mark.parametrize("form", DECODERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout(tmp_path, four, layout, form):
    if form == "dali":
        pytest.importorskip("nvidia.dali")
    layout(tmp_path, four)
    found, pixels = seen(tmp_path, form)
    assert found.labels.tolist() == [2, 0, 1, 0]
    for i, file in enumerate(four):
        with Image.open(io.BytesIO(file)) as image:
            assert np.array_equal(found.image(i), image)
    assert (pixels - seen(tmp_path, "pil")[1]).abs().max() <= 1.01
