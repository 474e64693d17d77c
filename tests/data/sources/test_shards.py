# SPDX-License-Identifier: MIT
"""Many shards, and shards that others took the place of."""

from __future__ import annotations

import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixmask_solo.data import source
from mixmask_solo.data.sources.webdataset import index_of
from support.tars import tar


def cfg(path, form="parquet", **data):
    return {"data": {"dataset": "custom", "format": form, "train_path": str(path)} | data}


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
from mixmask_solo.data import source
data = {"dataset": "custom", "format": sys.argv[1], "train_path": sys.argv[2]}
images = source({"data": data}, "train")
held = [images.encoded(i) for i in range(len(images))]
assert [bytes(h) for h in held] == [str(i).encode() for i in range(400)], held[:3]
"""


@pytest.mark.parametrize("form", ["parquet", "webdataset"])
def test_more_shards_than_a_process_may_open(tmp_path, form):
    for i in range(400):
        if form == "parquet":
            made = pa.table({"image": [str(i).encode()], "label": [0]})
            pq.write_table(made, tmp_path / f"{i:03d}.parquet")
        else:
            tar(tmp_path / f"{i:03d}.tar", [("a.png", str(i).encode()), ("a.cls", b"0")])
    command = [sys.executable, "-c", LIMITED, form, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr


def replaced(shard, members, when):
    """Another shard of the same name and size comes with a time of its own, as ``cp -p`` does."""
    tar(shard, members)
    os.utime(shard, ns=(when, when))


def test_a_shard_that_was_replaced_is_read_anew(tmp_path, png):
    shard = tmp_path / "s.tar"

    def read():
        return source(cfg(tmp_path, "webdataset"), "train").labels.tolist()

    def members(names, labels):
        both = zip(names, labels, strict=True)
        return [p for n, b in both for p in ((f"{n}.png", png(0)), (f"{n}.cls", b))]

    replaced(shard, members("ab", [b"0", b"1"]), 2 * 10**18)
    assert read() == [0, 1]
    assert read() == [0, 1]
    replaced(shard, members("ab", [b"1", b"0"]), 10**18)  # only labels, and an older time
    assert read() == [1, 0]
    replaced(shard, [*members("ba", [b"1", b"1"])], 10**18 + 1)
    assert read() == [1, 1]
    assert [image.path for image in index_of(shard).images] == ["b.png", "a.png"]


def test_an_index_of_another_shard_is_not_believed(tmp_path, png):
    tar(tmp_path / "other.tar", [("a.png", png(0)), ("a.cls", b"1")])
    index_of(tmp_path / "other.tar")
    shard = tar(tmp_path / "s.tar", [("a.cls", b"1"), ("a.png", png(1)), ("b.png", png(2))])
    (tmp_path / "s.index").write_text((tmp_path / "other.index").read_text())
    found = source(cfg(shard, "webdataset"), "train")
    assert [bytes(found.encoded(i)) for i in (0, 1)] == [png(1), png(2)]
    assert found.labels.tolist() == [1, -1]


def test_labels_of_images_with_dots_in_their_names(tmp_path, png):
    members = [("n.v2.png", png(0)), ("n.v2.cls", b"1"), ("n.v3.png", png(1)), ("n.cls", b"0")]
    members += [("o.png", png(2)), ("o.seg.png", png(3)), ("o.cls", b"1")]
    found = source(cfg(tar(tmp_path / "s.tar", members), "webdataset"), "train")
    assert found.labels.tolist() == [1, 0, 1]
    assert [bytes(found.encoded(i)) for i in range(3)] == [png(0), png(1), png(2)]


@pytest.mark.parametrize("ending", ["parquet", "tar"])
def test_hidden_files_and_pipes_are_no_shards(tmp_path, ending, png):
    if ending == "parquet":
        made = pa.table({"image": [png(0)], "label": [0]})
        pq.write_table(made, tmp_path / "a.parquet")
    else:
        tar(tmp_path / "a.tar", [("a.png", png(0)), ("a.cls", b"0")])
    (tmp_path / f"._a.{ending}").write_bytes(b"what macOS knows of it")
    os.mkfifo(tmp_path / f"b.{ending}")
    form = "parquet" if ending == "parquet" else "webdataset"
    assert len(source(cfg(tmp_path, form), "train")) == 1
