# SPDX-License-Identifier: MIT
"""Shards of several splits in one folder, named as people and hubs name them."""

from __future__ import annotations

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.data.tools import open_path
from support.tars import tar


@pytest.fixture
def put(tmp_path, png, shard):
    """``put("train-0.tar")``: a shard of one image of its own number; ``.parquet`` likewise."""

    def make(*names):
        for name in names:
            number = len(list(tmp_path.rglob("*.*")))
            path = tmp_path / "set" / name
            if path.suffix == ".tar":
                tar(path, [("a.png", png(number)), ("a.cls", b"0")])
            else:
                shard(path, [0], first=number)
        return tmp_path / "set"

    return make


def files(path, split, form):
    """The shards that a split is read from."""
    paths = {f"{key}_path": str(path) for key in ("train", "val")}
    found = source({"data": {"dataset": "custom", "format": form, **paths}}, split)
    shards = found.shards if form == "webdataset" else found.files
    return sorted(shard[len(str(path)) + 1 :] for shard in shards)


@pytest.mark.parametrize(
    ("train", "val", "others"),
    [
        (["imagenet1k-train-0000", "imagenet1k-train-0001"], ["imagenet1k-validation-00"], []),
        (["cifar10-train-0", "cifar10-train-1"], ["cifar10-test-0"], []),
        (["Train-0", "Train-1"], ["Test-0"], []),
        (["TRAIN_0"], ["DEV_0"], ["TEST_0"]),
        (["000-training", "001-training"], ["000-evaluation"], []),
        (["imageNetTrain0"], ["imageNetVal0"], []),
        (["trainval-0"], ["test-0"], []),
        (["data/train-0"], ["data/valid-0"], ["data/unlabelled-0"]),
        (["training/a", "training/b"], ["Validation/a"], []),
        (["restrained-0"], ["restrained-0"], []),  # no word in it: of any split
        (["train-00000-of-00002-1a2b", "train-00001-of-00002-9c3d"], ["val-00000-of-00001-9"], []),
    ],
)
@pytest.mark.parametrize("form", ["webdataset", "parquet"])
def test_words_in_the_names_tell_splits_apart(put, form, train, val, others):
    suffix = ".tar" if form == "webdataset" else ".parquet"
    path = put(*{name + suffix: 0 for name in (*train, *val, *others)})
    assert files(path, "train", form) == [name + suffix for name in train]
    assert files(path, "val", form) == [name + suffix for name in val]
    opened = open_path(path, storage=form)
    expected = {"train": len(train)} | ({} if train == val else {"val": len(val)})
    assert {name: len(one) for name, one in opened.items()} == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-0", "trainval-0"], "'train-0.tar' and 'trainval-0.tar' in it may both be its tra"),
        (
            ["cifar10-train-0", "cifar100-train-0"],
            "'cifar10-train-0.tar' and 'cifar100-train-0.tar",
        ),
        (["train/0", "train_extra/0"], "'train' and 'train_extra' in it may both be its train spl"),
        (["test-run-train-0", "test-run-val-0"], "'test-run-train-0.tar' in it names several spli"),
    ],
)
def test_names_that_may_be_meant_otherwise_are_refused(put, names, message):
    path = put(*(f"{name}.tar" for name in names))
    with pytest.raises(ConfigError, match=message) as caught:
        files(path, "train", "webdataset")
    assert "\n" not in str(caught.value)
    assert "give a pattern that fits" in str(caught.value)
    pattern = f"{path}/{names[0]}*.tar"
    block = {"dataset": "custom", "format": "webdataset", "train_path": pattern}
    assert len(source({"data": block}, "train")) == 1


def test_shards_in_folders_of_any_such_name_are_found_unasked(put):
    path = put("Train/a.parquet", "Train/b.parquet", "Test/c.parquet")
    data = {"dataset": "custom", "format": "resident", "train_path": str(path)}
    assert len(source({"data": data}, "train")) == 2
