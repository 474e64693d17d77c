# SPDX-License-Identifier: MIT
"""Two data sets are the same one exactly when they have the same images under the same labels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from mixmask_solo.data import build_pretrain
from mixmask_solo.data.identity import digest, identity
from mixmask_solo.data.tools import convert, open_path

Folders = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, class_folders: Folders) -> Path:
    class_folders(tmp_path / "here" / "train", {"a": 3, "b": 2})
    class_folders(tmp_path / "here" / "val", {"a": 1, "b": 1})
    return tmp_path / "here"


@pytest.fixture
def told(views_cfg: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """``told(folder)``: of both splits there, with more keys of the ``data`` block."""

    def tell(folder: Path, **more: Any) -> dict[str, Any]:
        paths = {"train_path": str(folder), "val_path": str(folder)}
        return identity(build_pretrain(views_cfg({"dataset": "custom", **paths, **more}, 1)))

    return tell


def test_what_is_told_of_each_split(told: Any, folder: Path) -> None:
    found = told(folder)
    assert found.keys() == {"train", "val"}
    counts = {name: (split["images"], split["classes"]) for name, split in found.items()}
    assert counts == {"train": (5, 2), "val": (2, 2)}
    assert all(len(split[key]) == 16 for split in found.values() for key in ("labels", "names"))
    shutil.rmtree(folder / "val")
    alone = told(folder, val_path=None)
    assert alone == {"train": found["train"]}


def test_where_it_lies_makes_no_difference(
    told: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = told(folder)
    moved = tmp_path / "a" / "b"
    shutil.move(folder, moved)
    assert told(moved) == before
    monkeypatch.chdir(tmp_path)
    assert told(Path("a/b")) == before
    (moved / "train" / "a" / "notes.txt").write_text("no image")
    assert told(moved) == before


CHANGES: dict[str, tuple[Callable[[Path], Any], set[str]]] = {
    "one image more": (
        lambda train: Image.new("RGB", (2, 2)).save(train / "b" / "z.png"),
        {"images", "labels", "names"},
    ),
    "another name": (lambda train: (train / "a/a_0.png").rename(train / "a/a_9.png"), {"names"}),
    "another class": (
        lambda train: (train / "a/a_2.png").rename(train / "b/a_2.png"),
        {"labels", "names"},
    ),
    "a class by another name": (
        lambda train: (train / "b").rename(train / "c"),
        {"labels", "names"},
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_seen_where_it_changes(change: str, told: Any, folder: Path) -> None:
    before = told(folder, val_path=None)["train"]
    make, expected = CHANGES[change]
    make(folder / "train")
    after = told(folder, val_path=None)["train"]
    assert {key for key in before if before[key] != after[key]} == expected


def test_the_digest_is_of_labels_and_classes_whatever_stores_them(
    folder: Path, tmp_path: Path
) -> None:
    one = open_path(folder)["train"]
    convert(open_path(folder), tmp_path / "shards", "parquet")
    assert digest(open_path(tmp_path / "shards")["train"]) == digest(one)
    one.labels = one.labels[::-1]
    other = digest(one)
    assert other != digest(open_path(folder)["train"])
    one.labels = one.labels.copy()  # the same numbers, however they lie in memory
    assert digest(one) == other
    one.classes = ["a\0b"]
    joined = digest(one)
    one.classes = ["ab"]
    assert digest(one) != joined


def test_names_of_any_bytes(told: Any, folder: Path) -> None:
    before = told(folder)["train"]
    odd = (folder / "train" / "a" / "a_0.png").rename(folder / "train" / "a" / "\udcff.png")
    assert odd.exists()
    after = told(folder)["train"]
    assert after["names"] != before["names"]
    assert after["labels"] == before["labels"]
