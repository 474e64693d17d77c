# SPDX-License-Identifier: MIT
"""Which splits lie at a path or in a configuration, and what is said where there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data.tools import check, convert, open_config, open_path

Folders = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, class_folders: Folders) -> Path:
    """Seven training and three validation images of two classes."""
    class_folders(tmp_path / "images" / "train", {"a": 4, "b": 3})
    class_folders(tmp_path / "images" / "val", {"a": 1, "b": 2})
    return tmp_path / "images"


def sizes(splits: Any) -> dict[str, int]:
    return {name: len(source) for name, source in splits.items()}


@pytest.mark.parametrize("target", ["image_folder", "parquet", "webdataset"])
def test_both_splits_are_found_wherever_they_are_stored(
    target: str, folder: Path, tmp_path: Path
) -> None:
    found = open_path(folder)
    assert sizes(found) == {"train": 7, "val": 3}
    convert(found, tmp_path / "out", target)
    again = open_path(tmp_path / "out")
    assert sizes(again) == {"train": 7, "val": 3}
    assert again["val"].classes == again["train"].classes == ["a", "b"]
    assert sizes(open_path(str(tmp_path / "out"))) == {"train": 7, "val": 3}


@pytest.mark.parametrize("word", ["val", "test", "validation"])
def test_a_split_by_any_name(word: str, folder: Path) -> None:
    (folder / "val").rename(folder / word)
    assert sizes(open_path(folder)) == {"train": 7, "val": 3}


def test_one_split_is_not_counted_twice(folder: Path) -> None:
    assert sizes(open_path(folder / "train")) == {"train": 7}
    assert sizes(open_path(folder / "val")) == {"train": 3}
    for word in ("train", "val"):  # lists of names beside the classes, as some archives have them
        (folder / "train" / f"{word}.txt").write_text("")
    assert sizes(open_path(folder / "train")) == {"train": 7}
    (folder / "val").rename(folder.parent / "val")
    assert sizes(open_path(folder)) == {"train": 7}


def test_labels_can_be_left_aside(folder: Path) -> None:
    for splits in (
        open_path(folder, no_labels=True),
        open_config({"data": {"dataset": "custom", "train_path": str(folder), "no_labels": True}}),
    ):
        assert not splits["train"].classes
        assert set(splits["train"].labels.tolist()) == {-1}


def test_a_configuration_names_the_data_too(folder):
    root = str(folder)
    block = {"dataset": "custom", "train_path": root, "val_path": root, "fraction": 0.5}
    assert [len(s) for s in open_config({"data": block}).values()] == [7, 3]
    report = check(open_config({"data": {"dataset": "digits"}}))
    assert report.damaged == 0
    assert report.splits["train"].images == 1442
    assert report.splits["train"].formats == {"array": 1442}


def test_no_key_of_a_configuration_is_asked_for(tmp_path, picture):
    for name in ("train/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        picture(0).save(tmp_path / name / "0.png")
    with pytest.raises(ConfigError, match=r"^the path is .*: class b is not among the 1 classes"):
        open_path(tmp_path)
    (tmp_path / "list.txt").write_text("train/a/0.png 999\n")
    with pytest.raises(ConfigError, match=r"only 1 images: number the classes from 0$"):
        open_path(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "no such folder"), ("images/train/a", "no class folder in it")]
)
def test_a_path_without_a_data_set(folder, tmp_path, name, message):
    with pytest.raises(ConfigError, match=rf"^the path is '.*{name}': {message}"):
        open_path(tmp_path / name)
