# SPDX-License-Identifier: MIT
from __future__ import annotations

import pickle

import numpy as np
import pytest
import torchvision
from sklearn.datasets import load_digits

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data import source
from mixmask_solo.data.sources.arrays import held_out


def cfg(path, dataset, **data):
    return {"data": {"dataset": dataset, "train_path": str(path)} | data}


@pytest.fixture
def believe(monkeypatch):
    """Lets torchvision accept files of other content than the official ones."""
    for module in (torchvision.datasets.cifar, torchvision.datasets.stl10):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: True)


def write_cifar10(root, rng):
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        pixels = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = [i % 10, 1, 2, 3]
        (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}))
    classes = [f"class {i}" for i in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": classes}))


def write_stl10(root, rng):
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for part, count in (("train", 3), ("test", 2), ("unlabeled", 4)):
        pixels = rng.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8)
        pixels.tofile(folder / f"{part}_X.bin")
        if part != "unlabeled":
            np.arange(1, count + 1, dtype=np.uint8).tofile(folder / f"{part}_y.bin")
    names = "\n".join(f"class {i}" for i in range(10))
    (folder / "class_names.txt").write_text(names)


def test_cifar10_is_what_torchvision_reads(tmp_path, believe):
    write_cifar10(tmp_path, np.random.default_rng(0))
    theirs = torchvision.datasets.CIFAR10(tmp_path, train=True)
    ours = source(cfg(tmp_path, "cifar10"), "train")
    assert ours.labels.tolist() == theirs.targets
    assert ours.classes == theirs.classes
    assert np.array_equal(np.asarray(ours.image(19)), np.asarray(theirs[19][0]))
    assert len(source(cfg(tmp_path, "cifar10", val_path=str(tmp_path)), "val")) == 4


def test_stl10_pretrains_on_unlabelled_images_too(tmp_path, believe):
    write_stl10(tmp_path, np.random.default_rng(0))
    pretrain, train, val = (
        source(cfg(tmp_path, "stl10", val_path=str(tmp_path)), split)
        for split in ("pretrain", "train", "val")
    )
    assert pretrain.labels.tolist() == [0, 1, 2, -1, -1, -1, -1]
    assert train.labels.tolist() == [0, 1, 2]
    assert val.labels.tolist() == [0, 1]
    theirs = torchvision.datasets.STL10(tmp_path, split="test")
    assert np.array_equal(np.asarray(val.image(1)), np.asarray(theirs[1][0]))


@pytest.mark.parametrize(
    ("dataset", "files"),
    [
        ("cifar10", "cifar-10-batches-py/"),
        ("cifar100", "cifar-100-python/"),
        ("stl10", "stl10_bin"),
    ],
)
def test_nothing_is_downloaded_unasked(tmp_path, monkeypatch, dataset, files):
    import urllib.request

    def refuse(*args, **kwargs):
        raise AssertionError("a download nobody asked for")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(ConfigError, match=f"put {files}.*or set data.download=true") as caught:
        source(cfg(tmp_path, dataset), "train")
    assert str(tmp_path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_says_so(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", fail)
    with pytest.raises(ConfigError, match="the download failed: no route to host"):
        source(cfg(tmp_path / "new", "cifar10", download=True), "train")


def test_parquet_files_in_the_folder_are_recognised(tmp_path, shard):
    shard(tmp_path / "train-0.parquet", [0])
    with pytest.raises(ConfigError, match=r"holds Parquet files: set data\.format=parquet"):
        source(cfg(tmp_path, "cifar10"), "train")
    with pytest.raises(ConfigError, match=r"is a Parquet file: set data\.format=parquet"):
        source(cfg(tmp_path / "train-0.parquet", "cifar10"), "train")


DIGITS = {"data": {"dataset": "digits"}}


def test_the_two_splits_share_no_scan_and_leave_none_out():
    train, val = source(DIGITS, "train"), source(DIGITS, "val")
    assert (len(train), len(val)) == (1442, 355)
    together = np.sort(np.concatenate([train.labels, val.labels]))
    assert np.array_equal(together, np.sort(load_digits().target))


def test_held_out_is_every_fifth_scan_of_each_class():
    labels = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1])
    assert np.flatnonzero(held_out(labels)).tolist() == [6, 10]


def test_split_is_stratified():
    val = source(DIGITS, "val")
    assert np.bincount(val.labels).min() >= 34
    assert np.bincount(val.labels).max() <= 36


def test_pixels_are_the_scans_on_the_full_range():
    val = source(DIGITS, "val")
    first = int(np.flatnonzero(held_out(load_digits().target))[0])
    expected = load_digits().images[first] / 16
    image = np.asarray(val.image(0)).astype(float) / 255
    assert image.shape == (8, 8, 3)
    assert np.abs(image - expected[..., None]).max() <= 0.5 / 255 + 1e-9


def test_statistics_in_the_table_are_those_of_the_training_split():
    pixels = source(DIGITS, "train").images / 255
    assert np.isclose(pixels.mean(), DATASETS["digits"].mean[0], atol=1e-4)
    assert np.isclose(pixels.std(), DATASETS["digits"].std[0], atol=1e-4)
