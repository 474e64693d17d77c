# SPDX-License-Identifier: MIT
"""Damage between whole markers: Pillow's word counts, and it is asked once."""

from __future__ import annotations

import io
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mixmask_solo.data import ImageError, build_pretrain
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.jpeg import is_whole, read_jpeg
from mixmask_solo.data.decoders.dali.verified import Verified, cache_folder
from mixmask_solo.data.tools import convert, open_path


@pytest.fixture
def hollow(jpeg):
    """A file with the last scans of another behind its own; its markers are in order."""
    own, other = jpeg(0, size=(200, 160)), jpeg(1, size=(200, 160), progressive=True)
    scans = other.rindex(b"\xff\xc4")
    found = own[:-2] + other[scans:]
    encoded = np.frombuffer(found, dtype=np.uint8)
    assert read_jpeg(encoded).size == (160, 200)
    with pytest.raises(OSError, match="broken data stream"), Image.open(io.BytesIO(found)) as image:
        image.load()
    return encoded


def test_damaged_data_is_found_and_whole_files_are_remembered(
    photos, jpeg, hollow, dali_cfg, monkeypatch
):
    assert not is_whole(read_jpeg(hollow))
    assert is_whole(read_jpeg(np.frombuffer(jpeg(1), dtype=np.uint8)))
    data = build_pretrain(dali_cfg(photos(2)))
    reader = data.reader(data.opened)
    verified = Verified(reader.source)
    feeder = Feeder(reader, [], training=True, labelled=False, verified=verified)
    first = feeder.read([0, 1])
    monkeypatch.setattr(Image, "open", None)
    assert feeder.read([0, 1]).files[1].tobytes() == first.files[1].tobytes()


def test_sizes_are_remembered_where_pillow_need_not_look(photos, dali_cfg, monkeypatch, tmp_path):
    walked = []
    at = "mixmask_solo.data.decoders.dali.feeder."
    monkeypatch.setattr(f"{at}read_jpeg", lambda encoded: walked.append(1) or read_jpeg(encoded))
    monkeypatch.setattr(f"{at}is_whole", None)
    options = {"device": "cpu", "verify": False, "cache": str(tmp_path / "cache")}
    path = photos(8)
    loader = build_pretrain(dali_cfg(path, 4) | {"dali": options}).train_dataloader()
    for _ in range(2):
        assert len(list(loader)) == 2
        assert len(walked) == 8
    os.utime(sorted(path.rglob("*.jpg"))[0], ns=(1, 1))
    list(loader)
    assert len(walked) == 9
    assert not (tmp_path / "cache").exists()


def test_dali_stops_where_pillow_would(photos, hollow, dali_cfg):
    folder = photos(4)
    victim = sorted(folder.rglob("*.jpg"))[1]
    victim.write_bytes(hollow.tobytes())
    cfg = dali_cfg(folder, 4)
    with pytest.raises(ImageError, match=victim.name):
        list(build_pretrain(cfg).train_dataloader())
    trusting = build_pretrain({**cfg, "dali": {"device": "cpu", "verify": False}})
    assert len(list(trusting.train_dataloader())) == 1


@pytest.fixture
def looked_at(monkeypatch, dali_cfg, tmp_path):
    """``looked_at(folder)``: how many images a new run has Pillow look at in an epoch."""
    counts = []

    def counted(jpeg):
        counts.append(jpeg)
        return is_whole(jpeg)

    monkeypatch.setattr("mixmask_solo.data.decoders.dali.feeder.is_whole", counted)

    def run(path, cache=tmp_path / "cache", **data):
        counts.clear()
        cfg = dali_cfg(path, 4, data)
        cfg["dali"]["cache"] = cache and str(cache)
        assert len(list(build_pretrain(cfg).train_dataloader())) > 0
        return len(counts)

    return run


@pytest.mark.parametrize("storage", ["image_folder", "parquet", "webdataset"])
def test_a_later_run_looks_at_changed_files_alone(photos, looked_at, tmp_path, storage):
    path = photos(8)
    if storage != "image_folder":
        convert(open_path(path), tmp_path / storage, storage)
        path = tmp_path / storage
    assert [looked_at(path), looked_at(path)] == [8, 0]
    moved = path.rename(path.with_name("moved"))
    assert looked_at(moved) == 0
    suffix = {"image_folder": "jpg", "parquet": "parquet", "webdataset": "tar"}[storage]
    touched = sorted(moved.rglob(f"*.{suffix}"))[0]
    os.utime(touched, ns=(1, 1))
    held = 1 if storage == "image_folder" else 8  # the only shard
    assert [looked_at(moved), looked_at(moved)] == [held, 0]


def test_a_file_that_changes_is_found_damaged(photos, hollow, looked_at):
    path = photos(8)
    looked_at(path)
    victim = sorted(path.rglob("*.jpg"))[1]
    victim.write_bytes(hollow.tobytes())
    with pytest.raises(ImageError, match=victim.name):
        looked_at(path)
    assert looked_at(path, on_error="skip") == 1  # what is damaged is not remembered
    assert looked_at(path, on_error="skip") == 1


def test_a_cache_that_cannot_be_used_is_none(photos, looked_at, tmp_path):
    path, cache = photos(8), tmp_path / "cache"
    assert [looked_at(path, None), looked_at(path, None)] == [8, 8]
    (blocked := tmp_path / "file").touch()
    assert [looked_at(path, blocked / "cache"), looked_at(path, blocked / "cache")] == [8, 8]
    assert looked_at(path) == 8
    [file] = cache.glob("*.whole")
    good = file.read_bytes()
    for damaged in (good[:-1], b"", good[:-5] + bytes([good[-5] ^ 1]) + good[-4:]):
        file.write_bytes(damaged)
        assert [looked_at(path), looked_at(path)] == [8, 0]
        assert file.read_bytes() == good


def test_workers_know_and_tell(photos, dali_cfg, tmp_path, looked_at):
    path = photos(8)
    cfg = dali_cfg(path, 4, {"num_workers": 1})
    cfg["dali"]["cache"] = str(tmp_path / "cache")
    list(build_pretrain(cfg).train_dataloader())
    assert looked_at(path) == 0


def test_processes_add_what_they_know(photos, dali_cfg, tmp_path):
    source = build_pretrain(dali_cfg(photos(8))).opened
    stamps = source.stamps(np.arange(8))
    ranks = [Verified(source, tmp_path / "new" / "cache") for _ in range(4)]
    for number, rank in enumerate(ranks):
        for index in (number, number + 4):
            rank.add(index, stamps[index], (48, 60 + index))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Verified.share, ranks))
    later = Verified(source, tmp_path / "new" / "cache")
    later.share()
    sizes = later.sizes(np.arange(8), stamps)
    assert sizes.tolist() == [[48, 60 + index] for index in range(8)]
    assert not later.sizes(np.arange(8), stamps + 1).any()


def test_the_cache_lies_where_users_keep_theirs(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / "mixmask_solo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("auto") == tmp_path / ".cache" / "mixmask_solo"
    assert cache_folder("~/known") == tmp_path / "known"
    assert cache_folder(None) is None
