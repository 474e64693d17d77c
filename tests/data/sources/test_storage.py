# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.storage import storage


@pytest.fixture
def place(tmp_path):
    def make(name):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return make


@pytest.mark.parametrize(
    ("file", "path", "found"),
    [
        ("a/train-0.parquet", "a", "parquet"),
        ("a/data/train-0.parquet", "a", "parquet"),
        ("a/train/0.parquet", "a", "parquet"),
        ("a/000000.tar", "a", "webdataset"),
        ("a/000000.tar", "a/{000000..000001}.tar", "webdataset"),
        ("a/000000.tar", "a/0*", "webdataset"),
        ("a/list.TXT", "a/list.TXT", "file_list"),
        ("a/list.csv", "a/list.csv", "file_list"),
        ("a/cat/1.png", "a", "folder"),
        ("a/cat/1.png", "elsewhere", "folder"),
    ],
)
@pytest.mark.parametrize("decoder", ["dali", "resident"])
def test_a_decoder_finds_how_images_are_stored(tmp_path, place, file, path, found, decoder):
    place(file)
    block = {"dataset": "custom", "format": decoder, "train_path": str(tmp_path / path)}
    assert storage(block) == found


def test_settings_win_over_what_lies_there(tmp_path, place):
    place("0.tar")
    block = {"dataset": "custom", "format": "dali", "train_path": str(tmp_path)}
    assert storage(block | {"storage": "image_folder"}) == "folder"
    assert storage(block | {"storage": "file_list"}) == "file_list"
    assert storage(block | {"format": "image_folder"}) == "folder"
    assert storage(block | {"format": "webdataset", "storage": "webdataset"}) == "webdataset"


@pytest.mark.parametrize(
    ("dataset", "kind"), [("digits", "digits"), ("cifar10", "cifar"), ("stl10", "stl10")]
)
def test_data_sets_with_files_of_their_own(dataset, kind):
    assert storage({"dataset": dataset, "format": "resident"}) == kind


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "dalli"}, r"data\.format is 'dalli'.*did you mean dali\?"),
        ({"storage": "tar"}, r"data\.storage is 'tar': choose auto, image_folder"),
        ({"format": "parquet", "storage": "webdataset"}, "choose a decoder"),
    ],
)
def test_what_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        storage({"dataset": "custom"} | changes)
