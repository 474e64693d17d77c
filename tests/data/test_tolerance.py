# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import gc
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.data import ImageError, build_classification, build_pretrain
from mixmask_solo.data.sources.folder import FolderSource
from mixmask_solo.data.tolerance import Tolerance, substitutes

BROKEN = ("a_1.png", "a_4.png", "b_2.png")


@pytest.fixture
def folder(tmp_path, class_folders):
    """Twelve images of which three are damaged, each in another way."""
    root = class_folders(tmp_path / "images", {"a": 6, "b": 6})
    whole = (root / "a" / "a_1.png").read_bytes()
    (root / "a" / "a_1.png").write_bytes(whole[: len(whole) // 2])
    (root / "a" / "a_4.png").write_bytes(b"")
    (root / "b" / "b_2.png").write_bytes(b"no image")
    return root


@pytest.fixture
def cfg(views_cfg, folder):
    def make(workers=0, **data):
        paths = {"dataset": "custom", "train_path": str(folder), "val_path": str(folder)}
        return views_cfg(paths | {"num_workers": workers} | data, 4)

    return make


def refused(loader, match):
    """The one line that ends an epoch of ``loader``."""
    try:
        with pytest.raises(ImageError, match=match) as caught:
            list(loader)
    finally:
        if loader.num_workers:  # left to the garbage collector, this takes ten seconds
            loader._iterator._shutdown_workers()
    return str(caught.value).strip().splitlines()[-1]


def names(data):
    return sorted(Path(found.name).name for found in data.tolerance.damaged())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("build", [build_pretrain, build_classification])
def test_skip_keeps_training_batches_full_and_labels_true(cfg, workers, build):
    data = build(cfg(workers, on_error="skip"))
    loader = data.train_dataloader()
    labels = data.train_source.labels
    for epoch in range(2):
        loader.batches.set_epoch(epoch)
        for batch in loader:
            assert len(batch[-1]) == 4
            if build is build_pretrain:
                seen = batch[0].tolist()
                assert np.array_equal(batch[2], labels[seen])
                shown = {Path(data.train_source.name(i)).name for i in seen}
                assert not shown & set(BROKEN)
    assert names(data) == sorted(BROKEN)


def test_a_substitute_is_the_image_its_index_says(cfg):
    data = build_pretrain(cfg(on_error="skip"))
    samples = data.train_dataloader().dataset
    damaged = [i for i in range(12) if Path(samples.reader.source.name(i)).name in BROKEN]
    for index in damaged:
        other, views, label = samples[(3, index)]
        assert other not in damaged
        assert label == samples.reader.source.label(other)
        again = samples[(3, other)]
        assert all(torch.equal(a, b) for a, b in zip(views, again[1], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_leaves_damaged_images_out_where_each_counts_once(cfg, workers):
    data = build_pretrain(cfg(workers, on_error="skip"))
    assert sum(len(y) for _, y in data.val_dataloader()) == 9
    train, val = data.features_dataloaders()
    assert torch.cat([y for _, y in train]).tolist() == [0] * 4 + [1] * 5
    assert sum(len(x) for x, _ in val) == 9
    assert names(data) == sorted(BROKEN)  # of both splits, which are the same files


def test_a_batch_without_any_image_is_passed_over(cfg, folder):
    for i in range(4):
        (folder / "a" / f"a_{i}.png").write_bytes(b"")
    loader = build_pretrain(cfg(on_error="skip")).val_dataloader()
    assert [len(y) for _, y in loader] == [3, 3]  # places 0-3 are damaged, and 4, and 8


@pytest.mark.parametrize("workers", [0, 2])
def test_blank_images_have_the_mean_colour_and_their_label(cfg, workers):
    data = build_pretrain(cfg(workers, on_error="blank"))
    x = torch.cat([images for images, _ in data.val_dataloader()])
    labels = torch.cat([y for _, y in data.val_dataloader()])
    assert labels.tolist() == data.val_source.labels.tolist()
    blank = (x.abs() < 0.5 / 255 / min(info("custom").std)).all(dim=(1, 2, 3))
    shown = [Path(data.val_source.name(i)).name for i in torch.where(blank)[0].tolist()]
    assert sorted(shown) == sorted(BROKEN)
    loader = data.train_dataloader()
    assert sorted(i for batch in loader for i in batch[0].tolist()) == list(range(12))
    assert names(data) == sorted(BROKEN)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("mode", ["skip", "blank"])
def test_the_limit_stops_the_run_and_names_the_last_file(cfg, workers, mode):
    data = build_pretrain(cfg(workers, on_error=mode, max_errors=2))
    line = refused(data.val_dataloader(), r"more than 2 images .*\.png: cannot be decoded")
    assert "mixmask-data check" in line
    assert len(data.tolerance.damaged()) == 3
    exactly = build_pretrain(cfg(workers, on_error=mode, max_errors=3))
    assert len(list(exactly.val_dataloader())) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_raise_names_the_first_damaged_file(cfg, workers):
    data = build_pretrain(cfg(workers))
    refused(data.val_dataloader(), r"a_1\.png cannot be decoded")
    assert data.tolerance.damaged() == []


def test_an_image_counts_once_however_often_it_is_met(cfg):
    data = build_pretrain(cfg(2, on_error="skip", max_errors=3))
    loader = data.train_dataloader()
    for epoch in range(4):
        loader.batches.set_epoch(epoch)
        list(loader)
    assert len(data.tolerance.damaged()) == 3


def test_all_processes_know_what_a_worker_found_damaged(cfg):
    data = build_pretrain(cfg(2, on_error="skip"))
    list(data.train_dataloader())
    damaged = torch.where(data.reader(data.opened).unreadable)[0]
    found = sorted(Path(data.opened.name(i)).name for i in damaged.tolist())
    assert found == sorted(BROKEN)


def failing_once(monkeypatch, victim, error):
    """The file raises an error when it is read first, and never again."""
    read, failed = FolderSource._read, []

    def flaky(self, index):
        if Path(self.name(index)).name == victim and not failed:
            failed.append(index)
            raise error
        return read(self, index)

    monkeypatch.setattr(FolderSource, "_read", flaky)


def test_a_disk_that_recovers_gives_its_images_back(cfg, monkeypatch):
    failing_once(monkeypatch, "b_5.png", OSError(errno.EIO, "Input/output error"))
    data = build_pretrain(cfg(on_error="skip"))
    counts = [sum(len(y) for _, y in data.val_dataloader()) for _ in range(3)]
    assert counts == [8, 9, 9]
    assert names(data) == sorted([*BROKEN, "b_5.png"])


def test_raise_stops_whatever_failed(cfg, monkeypatch):
    data = build_pretrain(cfg())
    for _ in range(2):
        refused(data.val_dataloader(), r"a_1\.png cannot be decoded")
    failing_once(monkeypatch, "a_0.png", OSError(errno.EIO, "Input/output error"))
    refused(data.val_dataloader(), r"a_0\.png cannot be decoded: .*Input/output error")


def test_a_missing_file_is_asked_for_every_time_and_logged_once(cfg, folder, tmp_path):
    data = build_pretrain(cfg(on_error="skip"))
    data.tolerance.keep_in(tmp_path / "log.jsonl")
    data.setup()
    (folder / "b" / "b_0.png").unlink()
    for _ in range(3):
        list(data.val_dataloader())
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 4


def test_when_nothing_can_be_read_the_run_stops(cfg, folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"")
    data = build_pretrain(cfg(on_error="skip"))
    with pytest.raises(ImageError, match="none of the 12 images can be read"):
        next(iter(data.train_dataloader()))


def test_substitutes_depend_on_their_arguments_alone_and_reach_every_image():
    def order(**key):
        return list(substitutes(20, 3, **({"seed": 1, "epoch": 0} | key)))

    assert order() == order()
    assert order() != order(epoch=1) != order(seed=2)
    assert set(order()) >= set(range(20)) - {3}


def test_the_log_goes_with_its_owner_and_no_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    owner = Tolerance("skip")
    copy = pickle.loads(pickle.dumps(owner))
    del copy
    gc.collect()
    child = os.fork()
    if child == 0:
        del owner
        gc.collect()
        os._exit(0)
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    del owner
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"on_error": "skp"}, r"data\.on_error is 'skp': choose raise, skip or blank .*skip"),
        ({"max_errors": -1}, r"data\.max_errors is -1: give a whole number"),
        ({"max_errors": True}, r"data\.max_errors is True"),
        ({"num_workers": -1}, r"data\.num_workers is -1: give a whole number or auto, at least 0"),
        ({"num_workers": "many"}, r"data\.num_workers is 'many'"),
    ],
)
def test_impossible_settings_are_refused(views_cfg, data, message):
    with pytest.raises(ConfigError, match=message):
        build_pretrain(views_cfg({"dataset": "digits"} | data))
