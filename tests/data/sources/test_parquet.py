# SPDX-License-Identifier: MIT
from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch.utils.data import DataLoader

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.data import ImageError, source
from mixmask_solo.data.decoders.pil import Plain
from mixmask_solo.data.sources import read
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.parquet import read_parquet
from mixmask_solo.data.tasks import unaugmented
from mixmask_solo.data.tolerance import Reader


def cfg(path, dataset="parquet", **data):
    return {"data": {"dataset": dataset, "train_path": str(path), "format": "parquet"} | data}


@pytest.fixture
def two_shards(tmp_path, shard):
    shard(tmp_path / "train-00000-of-00002.parquet", [0, 1, 2, 0, 1, 2], ["x", "y", "z"])
    shard(tmp_path / "train-00001-of-00002.parquet", [2, 1, 0], ["x", "y", "z"], first=6)
    shard(tmp_path / "validation-00000-of-00001.parquet", [1, 0], ["x", "y", "z"], first=9)
    return tmp_path


def test_shards_are_one_data_set(two_shards, picture):
    images = source(cfg(two_shards), "train")
    assert images.labels.tolist() == [0, 1, 2, 0, 1, 2, 2, 1, 0]
    assert images.classes == ["x", "y", "z"]
    for i in (8, 0, 5, 6, 3):
        assert np.array_equal(np.asarray(images.image(i)), np.asarray(picture(i)))
    assert images.name(7) == f"{two_shards}/train-00001-of-00002.parquet row 1 of row group 0"


def test_splits_are_told_apart_by_name(two_shards, picture):
    assert source(cfg(two_shards), "val") is None
    val = source(cfg(two_shards, val_path=str(two_shards)), "val")
    assert val.labels.tolist() == [1, 0]
    assert np.array_equal(np.asarray(val.image(0)), np.asarray(picture(9)))


def test_a_hub_repository_keeps_its_files_in_data_or_in_split_folders(tmp_path, shard):
    shard(tmp_path / "one" / "data" / "train-0.parquet", [0, 1])
    shard(tmp_path / "two" / "train" / "0000.parquet", [0, 1, 1])
    shard(tmp_path / "two" / "test" / "0000.parquet", [0])
    assert len(source(cfg(tmp_path / "one"), "train")) == 2
    two = cfg(tmp_path / "two", val_path=str(tmp_path / "two"))
    assert len(source(two, "train")) == 3
    assert len(source(two, "val")) == 1


def test_a_file_or_a_pattern_will_do(two_shards):
    assert len(source(cfg(two_shards / "train-00001-of-00002.parquet"), "train")) == 3
    assert len(source(cfg(two_shards / "train-*"), "train")) == 9


def test_files_without_a_split_in_their_names_belong_to_the_path_given(tmp_path, shard):
    shard(tmp_path / "a" / "0000.parquet", [0, 1])
    shard(tmp_path / "b" / "0000.parquet", [0])
    assert len(source(cfg(tmp_path / "a"), "train")) == 2
    assert len(source(cfg(tmp_path / "a", val_path=str(tmp_path / "b")), "val")) == 1


def test_binary_columns_and_files_without_names_or_labels(tmp_path, picture, shard):
    shard(tmp_path / "a.parquet", [1, 0])
    assert source(cfg(tmp_path / "a.parquet"), "train").classes == ["0", "1"]
    table = pq.read_table(tmp_path / "a.parquet")
    plain = pa.table({"img": [row["bytes"] for row in table["image"].to_pylist()]})
    pq.write_table(plain, tmp_path / "b.parquet")
    images = source(cfg(tmp_path / "b.parquet"), "pretrain")
    assert images.labels.tolist() == [-1, -1]
    assert images.classes == []
    assert np.array_equal(np.asarray(images.image(1)), np.asarray(picture(1)))


def windowed(folder, cache_bytes):
    return read_parquet(
        Request("parquet", "train", str(folder), "data.train_path"), cache_bytes=cache_bytes
    )


def test_small_files_are_shuffled_freely_and_read_once(two_shards):
    images = windowed(two_shards, 1 << 30)
    images.warm()
    reads = []
    images._read = reads.append
    for i in range(len(images)):
        images.load(i)
    assert reads == []


def test_large_files_are_shuffled_in_windows_that_read_each_row_group_once(tmp_path, shard):
    shard(tmp_path / "train-0.parquet", [0] * 64, rows_per_group=4)
    weight = windowed(tmp_path, 1 << 30).weights[0]
    images = windowed(tmp_path, int(weight * 4.5 * 2))
    order = images.blocks().order(torch.Generator().manual_seed(3))
    assert sorted(order.tolist()) == list(range(64))
    windows = [set((order[i : i + 16] // 4).tolist()) for i in range(0, 64, 16)]
    assert [len(w) for w in windows] == [4, 4, 4, 4]
    again = images.blocks().order(torch.Generator().manual_seed(4))
    assert order.tolist() != again.tolist()
    assert order[:16].tolist() != sorted(order[:16].tolist())
    read = images._read
    reads = []
    images._read = lambda group: reads.append(group) or read(group)
    for i in order.tolist():
        images.load(i)
    assert sorted(reads) == list(range(16))
    assert images._kept_bytes <= images.cache_bytes


def test_a_parquet_source_can_be_sent_to_a_process_and_arrives_empty(two_shards):
    images = source(cfg(two_shards), "train")
    images.warm()
    packed = pickle.dumps(images)
    assert len(packed) < 3000
    copy = pickle.loads(packed)
    assert np.array_equal(np.asarray(copy.image(4)), np.asarray(images.image(4)))


def test_workers_read_what_the_main_process_reads(two_shards):
    images = source(cfg(two_shards), "train")
    images.image(0)
    facts = info("parquet")
    dataset = Plain(Reader(images), unaugmented(facts, 8, facts.mean, facts.std))
    main = [dataset[i][0] for i in range(len(dataset))]
    loader = DataLoader(dataset, batch_size=3, num_workers=2)
    assert torch.equal(torch.cat([x for x, _ in loader]), torch.stack(main))


def no_columns(path):
    pq.write_table(pa.table({"text": ["a"]}), path)


def not_parquet(path):
    path.write_bytes(b"PAR1 and nothing else")


def cut_off(path):
    pq.write_table(pa.table({"image": [b"1"] * 50, "label": [0] * 50}), path)
    path.write_bytes(path.read_bytes()[:-20])


def no_rows(path):
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_columns, r"a\.parquet has columns text: give one named image"),
        (not_parquet, r"a\.parquet is not a readable Parquet file: "),
        (cut_off, r"a\.parquet is not a readable Parquet file: "),
        (no_rows, r"data\.train_path is .*no row in its Parquet files"),
    ],
)
def test_one_line_says_what_is_wrong_with_a_shard(tmp_path, make, message):
    make(tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match=message) as caught:
        source(cfg(tmp_path / "a.parquet"), "train")
    assert "\n" not in str(caught.value)


def test_one_line_says_that_there_is_no_shard(tmp_path, shard):
    with pytest.raises(ConfigError, match=r"data\.train_path is .*no Parquet file of the train"):
        source(cfg(tmp_path / "nowhere"), "train")
    shard(tmp_path / "train-0.parquet", [0])
    with pytest.raises(ConfigError, match=r"data\.val_path is .*no Parquet file of the val"):
        source(cfg(tmp_path, val_path=str(tmp_path)), "val")


def test_a_shard_with_a_damaged_middle_is_named(tmp_path, shard):
    path = shard(tmp_path / "a.parquet", [0] * 8)
    whole = bytearray(path.read_bytes())
    whole[4:40] = bytes(36)  # the header of the first page
    path.write_bytes(whole)
    images = source(cfg(path), "train")
    with pytest.raises(ImageError, match=r"a\.parquet row group 0 cannot be read: "):
        images.image(1)
    with pytest.raises(ImageError, match=r"a\.parquet row group 0 cannot be read: "):
        images.warm()
    assert images.image(7).size == (12, 10)


def test_validation_with_other_classes_is_refused(tmp_path, shard):
    path = shard(tmp_path / "v.parquet", [0, 1], ["y", "x"])
    block = cfg(path, val_path=str(path))["data"]
    assert read(block, "val", classes=["y", "x"]).labels.tolist() == [0, 1]
    with pytest.raises(
        ConfigError, match=r"data\.val_path is .*classes are not those of the train"
    ):
        read(block, "val", classes=["x", "y"])


def test_more_labels_than_classes_are_refused(tmp_path, shard):
    shard(tmp_path / "a.parquet", [0, 5], ["x", "y"])
    with pytest.raises(ConfigError, match=r"a\.parquet row 1 has label 5, but there are only 2"):
        source(cfg(tmp_path / "a.parquet"), "train")
    shard(tmp_path / "b.parquet", [0, 11])
    with pytest.raises(ConfigError, match=r"b\.parquet row 1 has label 11, but cifar10 has 10"):
        source(cfg(tmp_path / "b.parquet", "cifar10"), "train")


def test_rows_that_cannot_be_decoded_are_named(tmp_path):
    rows = [{"bytes": b"no image", "path": "x.jpg"}, {"bytes": None, "path": "y.jpg"}]
    pq.write_table(pa.table({"image": rows, "label": [0, 1]}), tmp_path / "a.parquet")
    images = source(cfg(tmp_path / "a.parquet"), "train")
    with pytest.raises(ImageError, match=r"a\.parquet row 0 of row group 0 cannot be decoded"):
        images.image(0)
    with pytest.raises(ImageError, match=r"row 1 .*no bytes, only a path"):
        images.image(1)


def test_real_cifar10(real_data):
    folder = real_data / "cifar10"
    data = cfg(folder, "cifar10", val_path=str(folder))
    train, val = source(data, "train"), source(data, "val")
    assert (len(train), len(val)) == (50_000, 10_000)
    assert train.classes == val.classes
    assert train.classes[:2] == ["airplane", "automobile"]
    assert np.bincount(train.labels).tolist() == [5_000] * 10
    assert train.image(49_999).size == (32, 32)


def test_real_tiny_imagenet(real_data):
    folder = real_data / "tiny-imagenet-200"
    data = cfg(folder, "tiny-imagenet", val_path=str(folder))
    train, val = source(data, "train"), source(data, "val")
    assert (len(train), len(val)) == (100_000, 10_000)
    assert (train.num_classes, val.classes) == (200, train.classes)
    assert train.image(99_999).mode == "RGB"
