# SPDX-License-Identifier: MIT
"""Which images have a label in fine-tuning: lists of names in every storage, shares of a class."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_finetuning
from mixmask_solo.data.sources import Source, read
from mixmask_solo.data.sources.class_folders import IMAGENET100
from mixmask_solo.data.sources.few_labels import few_labels, share_of_each_class
from mixmask_solo.data.sources.published import published
from support.tars import tar

WNIDS = ("n01440764", "n01443537", "n01484850")
NAMES = [f"{wnid}_{number}.JPEG" for wnid in WNIDS for number in (3, 5, 8)]


def jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    return stream.getvalue()


def folders(root: Path, names: list[str] = NAMES) -> dict[str, Any]:
    """A folder a class, as ImageNet is unpacked."""
    for name in names:
        place = root / name.partition("_")[0] / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(jpeg())
    return {"dataset": "custom", "train_path": str(root)}


def parquet(root: Path) -> dict[str, Any]:
    """As the hub publishes ImageNet: the class once more behind the number."""
    rows = [
        {"bytes": jpeg(), "path": name.replace(".", f"_{name.partition('_')[0]}.")}
        for name in NAMES
    ]
    labels = [WNIDS.index(name.partition("_")[0]) for name in NAMES]
    root.mkdir()
    pq.write_table(pa.table({"image": rows, "label": labels}), root / "train-0.parquet")
    return {"dataset": "custom", "format": "parquet", "train_path": str(root)}


def shards(root: Path) -> dict[str, Any]:
    members = []
    for name in NAMES:
        label = str(WNIDS.index(name.partition("_")[0])).encode()
        stem = f"train/{name.removesuffix('.JPEG')}"
        members += [(f"{stem}.jpg", jpeg()), (f"{stem}.cls", label)]
    tar(root / "train-0.tar", members)
    return {"dataset": "custom", "format": "webdataset", "train_path": str(root)}


def listed(root: Path) -> dict[str, Any]:
    folders(root)
    lines = [f"{n.partition('_')[0]}/{n} {WNIDS.index(n.partition('_')[0])}" for n in NAMES]
    (root / "list.txt").write_text("\n".join(lines))
    path = str(root / "list.txt")
    return {"dataset": "custom", "format": "file_list", "train_path": path}


def opened(block: dict[str, Any]) -> Source:
    source = read(block, "train")
    assert source is not None
    return source


def chosen(source: Source, file: Path, *names: str) -> Source:
    file.write_text("\n".join(names))
    return few_labels(str(file), -1, 5, "custom")(source)


@pytest.mark.parametrize("store", [folders, parquet, shards, listed])
def test_simclrs_list_finds_its_images_in_every_storage(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [NAMES[7], NAMES[0], NAMES[4]]
    monkeypatch.setattr("mixmask_solo.data.sources.few_labels.published", lambda name: wanted)
    source = opened(store(tmp_path / "images"))
    found = few_labels("1percent", -1, 5, "custom")(source)
    assert found.labels.tolist() == [0, 1, 2]
    stems = [str(found.path(i)).rpartition("/")[2].split(".")[0] for i in range(3)]
    assert [stem[: len("n01440764_3")] for stem in stems] == [
        name.removesuffix(".JPEG") for name in sorted(wanted)
    ]
    assert found.classes == source.classes


@pytest.mark.parametrize("store", [folders, listed])
def test_a_file_names_images_with_or_without_their_folders(store: Any, tmp_path: Path) -> None:
    source = opened(store(tmp_path / "images"))
    names = [f"{WNIDS[0]}/{NAMES[1]}", NAMES[3], f"./{NAMES[8]}", ""]
    found = chosen(source, tmp_path / "few.txt", *names)
    assert [NAMES.index(Path(str(found.path(i))).name) for i in range(len(found))] == [1, 3, 8]


def test_imagenet_100_takes_its_classes_of_the_list() -> None:
    names = few_labels("10percent", -1, 5, "imagenet100").names
    assert names is not None
    assert {name.partition("_")[0] for name in names} == IMAGENET100
    whole = few_labels("10percent", -1, 5, "imagenet").names
    assert whole == tuple(published("10percent"))
    assert few_labels("100percent", -1, 5, "imagenet").names is None


def test_a_part_of_imagenet_is_refused_with_counts_and_an_example(tmp_path: Path) -> None:
    there = published("1percent")[:3]
    source = opened(folders(tmp_path / "images", [*there, *NAMES]))
    with pytest.raises(ConfigError) as error:
        few_labels("1percent", -1, 5, "imagenet")(source)
    absent = published("1percent")[3]
    assert str(error.value) == (
        f"data.labels is '1percent': 12,808 of its 12,811 images are not among the 12 labelled "
        f"training images, {absent} for one (these are called as {source.path(0)}); give the whole "
        "of ImageNet-1K, or list those that are there in a file"
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["n01440764_3.JPEG", "lost.png"], "1 of its 2 images are not among the 9 .* lost.png"),
        (["a.jpg", "b.jpg", "a.jpg"], "line 3 names a.jpg again, as line 1 does"),
        (["", "  "], "no name in it"),
        (NAMES[:4], r"none of its images is of class n01484850 \(of 1 of 3 classes\)"),
    ],
)
def test_a_wrong_list_is_one_line(names: list[str], told: str, tmp_path: Path) -> None:
    source = opened(folders(tmp_path / "images"))
    with pytest.raises(ConfigError, match=f"^data.labels is '.*few.txt': {told}") as error:
        chosen(source, tmp_path / "few.txt", *names)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; choose 1percent, 10percent, 100percent, "):
        few_labels("1pct", -1, 5, "imagenet")
    with pytest.raises(ConfigError, match="a folder; choose 1percent"):
        few_labels(str(tmp_path), -1, 5, "imagenet")
    (tmp_path / "few.txt").write_bytes(b"caf\xe9.jpg")
    with pytest.raises(ConfigError, match="is no UTF-8 text"):
        few_labels(str(tmp_path / "few.txt"), -1, 5, "imagenet")


def test_two_names_of_one_image_are_one_line(tmp_path: Path) -> None:
    """Or a list of 10 would train on 9, and say 10."""
    source = opened(folders(tmp_path / "images"))
    names = f"{WNIDS[0]}/{NAMES[0]}", NAMES[1], NAMES[0]
    with pytest.raises(
        ConfigError, match=rf"{names[0]} and {names[2]} name one image, .*/{names[0]}"
    ):
        chosen(source, tmp_path / "few.txt", *names)


def test_a_name_that_two_images_have_wants_its_folder(tmp_path: Path) -> None:
    for place in ("cat/1.png", "dog/1.png"):
        (tmp_path / place).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / place)
    source = opened({"dataset": "custom", "train_path": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"1.png is two training images, .*cat/1.png and .*dog/1"):
        chosen(source, tmp_path / "few.txt", "1.png")
    found = chosen(source, tmp_path / "few.txt", "cat/1.png", "dog/1.png")
    assert found.labels.tolist() == [0, 1]


def test_images_without_names_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(digits image 0\) have no names .* data.fraction"):
        chosen(opened({"dataset": "digits"}), tmp_path / "few.txt", "a.png")


LABELS = st.lists(st.integers(-1, 5), min_size=1, max_size=200).filter(lambda x: max(x) >= 0)


@given(LABELS, st.floats(1e-4, 1.0), st.floats(1e-4, 1.0), st.integers(0, 2**31))
def test_each_class_has_its_share(given: list[int], one: float, other: float, seed: int) -> None:
    labels = np.array(given, dtype=np.int64)
    small, large = (share_of_each_class(labels, f, seed) for f in sorted((one, other)))
    assert {*small} <= {*large}  # so 1 % of the labels are among the 10 %
    assert small.tolist() == sorted({*small})
    for fraction, found in zip(sorted((one, other)), (small, large), strict=True):
        assert labels[found].min() >= 0
        for label in {*given} - {-1}:
            count, images = int((labels[found] == label).sum()), given.count(label)
            assert 1 <= count <= images
            assert count == 1 or abs(count - fraction * images) <= 0.5 + 1e-6


def test_a_share_follows_the_seed_and_is_exact() -> None:
    labels = np.repeat(np.arange(4), 50)
    first, again, other = (share_of_each_class(labels, 0.1, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    assert np.bincount(labels[first]).tolist() == [5] * 4
    assert np.bincount(labels[share_of_each_class(labels, 0.001, 1)]).tolist() == [1] * 4
    half = share_of_each_class(np.zeros(10, np.int64), 0.35, 1)
    assert len(half) == math.ceil(0.35 * 10)


def test_pretrainings_fraction_stays_solo_learns() -> None:
    whole, part = opened({"dataset": "digits"}), opened({"dataset": "digits", "fraction": 0.1})
    cfg = {"data": {"dataset": "digits", "fraction": 0.1}, "optimizer": {"batch_size": 8}}
    mine = build_finetuning({**cfg, "seed": 7}).opened
    assert (len(whole), len(part), len(mine)) == (1442, 144, 145)
    assert sorted(np.bincount(mine.labels)) == sorted(
        int(n / 10 + 0.5) for n in np.bincount(whole.labels)
    )
