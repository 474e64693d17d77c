# SPDX-License-Identifier: MIT
"""Threads read from one source at once what one thread reads, no row group twice, none for ever."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from mixmask_solo.data import tolerance
from mixmask_solo.data.sources import parquet, shards
from mixmask_solo.data.sources.base import ImageError, Request
from mixmask_solo.data.sources.parquet import ParquetSource, read_parquet
from mixmask_solo.data.tolerance import Damaged, Tolerance
from mixmask_solo.data.tools import convert, open_path


@pytest.mark.parametrize("storage", ["image_folder", "parquet", "webdataset"])
def test_all_threads_read_the_same(class_folders, tmp_path, monkeypatch, storage):
    path = class_folders(tmp_path / "files", {"a": 12, "b": 12})
    if storage != "image_folder":
        convert(open_path(path), tmp_path / storage, storage, max_shard_mb=0.001)
        path = tmp_path / storage
    expected = [open_path(path)["train"].encoded(index).tobytes() for index in range(24)]
    monkeypatch.setattr(shards, "_MOST", 1)  # so that threads close each other's files
    source = open_path(path)["train"]
    start = threading.Barrier(4)

    def read(seed):
        order = np.random.default_rng(seed).permutation(np.repeat(np.arange(24), 20)).tolist()
        start.wait()
        return all(source.encoded(index).tobytes() == expected[index] for index in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(read, range(4)))


def test_no_row_group_is_read_twice(shard, tmp_path, monkeypatch):
    path = shard(tmp_path / "train.parquet", [0, 1] * 8)
    source = read_parquet(Request("custom", "train", str(path), "data.train_path"))
    groups = []

    def counted(self, group):
        groups.append(group)
        return read_group(self, group)

    read_group = ParquetSource._read
    monkeypatch.setattr(ParquetSource, "_read", counted)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(source.encoded, list(range(16)) * 4))
    assert sorted(groups) == [0, 1, 2, 3]


def test_threads_count_each_damaged_image_once(monkeypatch):
    def slowly(self):
        found = damaged(self)
        time.sleep(0.001)
        return found

    damaged = Tolerance.damaged
    monkeypatch.setattr(Tolerance, "damaged", slowly)
    tolerance, error = Tolerance("skip", max_errors=5), ImageError("damaged")

    def note(_):
        for number in range(5):
            tolerance.note(Damaged(f"{number}.jpg", "broken"), error)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(4)))
    assert len(tolerance._log.read_text().splitlines()) == 5
    with pytest.raises(ImageError, match="more than 5 images"):
        tolerance.note(Damaged("another.jpg", "broken"), error)


class Noted(Dataset):
    """Images that are read, and counted as damaged."""

    def __init__(self, source):
        self.source = source
        self.tolerance = Tolerance("skip")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        size = len(self.source.encoded(index))
        self.tolerance.note(Damaged(f"{index}.png", "broken"), ImageError("damaged"))
        return size


def test_a_worker_forked_while_a_thread_reads_and_notes(shard, tmp_path):
    path = shard(tmp_path / "train.parquet", [0, 1])
    source = read_parquet(Request("custom", "train", str(path), "data.train_path"))
    busy, done = threading.Event(), threading.Event()

    def hold():
        with parquet._READING, tolerance._NOTING:
            busy.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    busy.wait()
    workers = {"num_workers": 1, "multiprocessing_context": "fork", "timeout": 60}
    iterator = iter(DataLoader(Noted(source), batch_size=1, **workers))
    try:
        sizes = [int(size) for size in iterator]
    finally:
        done.set()
        thread.join()
        iterator._shutdown_workers()
    assert sizes == [len(source.encoded(index)) for index in range(2)]
