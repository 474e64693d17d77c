# SPDX-License-Identifier: MIT
"""Batches of the DALI decoder on the CPU: what is in them, and in what order."""

from __future__ import annotations

import io
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_classification, build_pretrain
from mixmask_solo.data.decoders.dali.decoder import Dali


def epoch(data, number=0, start=0):
    loader = data.train_dataloader()
    loader.batches.set_epoch(number, start)
    return list(loader)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_batch_is_indexes_views_targets(photos, dali_cfg):
    cfg = dali_cfg(photos(10), 4)
    cfg["augmentations"].append({"pipeline": "glyphs", "crop_size": 6, "num_crops": 1})
    data = build_pretrain(cfg)
    assert isinstance(data.decoder, Dali)
    batches = epoch(data)
    assert len(batches) == 2
    indexes, views, targets = batches[0]
    assert indexes.shape == targets.shape == (4,)
    assert indexes.dtype == targets.dtype == torch.int64
    assert [v.shape for v in views] == [(4, 3, 8, 8), (4, 3, 8, 8), (4, 3, 6, 6)]
    assert {v.dtype for v in views} == {torch.float32}
    assert np.array_equal(targets, data.train_source.labels[indexes])
    assert not torch.equal(views[0], views[1])


@pytest.mark.parametrize("workers", [0, 2])
def test_order_is_that_of_the_pil_decoder(photos, dali_cfg, workers):
    path = photos(11)
    ours = build_pretrain(dali_cfg(path, 3, {"num_workers": workers}))
    theirs = build_pretrain(dali_cfg(path, 3, {"format": "image_folder"}))
    loader = ours.train_dataloader()
    for number in range(2):  # the same workers serve both epochs
        loader.batches.set_epoch(number)
        for a, b in zip(loader, epoch(theirs, number), strict=True):
            assert torch.equal(a[0], b[0])
            assert torch.equal(a[2], b[2])


def test_views_depend_neither_on_workers_nor_on_the_batch(photos, dali_cfg):
    path = photos(12)
    alone, helped = (
        build_pretrain(dali_cfg(path, 4, {"num_workers": workers})) for workers in (0, 1)
    )
    assert equal(epoch(alone, 1), epoch(helped, 1))
    small = build_pretrain(dali_cfg(path, 2))
    both = [
        {int(i): b[1][0][row] for b in epoch(data, 1) for row, i in enumerate(b[0])}
        for data in (alone, small)
    ]
    assert all(torch.allclose(both[0][i], both[1][i], atol=1e-5) for i in range(12))


def test_an_epoch_goes_on_in_the_middle(photos, dali_cfg):
    data = build_pretrain(dali_cfg(photos(12), 2))
    assert equal(epoch(data, 2)[3:], epoch(data, 2, 3))
    assert not equal(epoch(data, 2), epoch(data, 3))


def test_processes_share_an_epoch_exactly(photos, dali_cfg):
    path = photos(13)
    for number in range(3):
        seen = []
        for rank in range(2):
            data = build_pretrain(dali_cfg(path, 3))
            data.trainer = SimpleNamespace(
                global_rank=rank, world_size=2, num_devices=1, strategy=None
            )
            loader = data.train_dataloader()
            loader.batches.position = None
            loader.batches.set_epoch(number)
            seen += [int(i) for batch in loader for i in batch[0]]
        assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize("fit", [{}, {"resize": 45, "interpolation": "bicubic"}])
def test_validation_images_are_the_pil_decoders(photos, dali_cfg, fit):
    train, val = photos(8), photos(9, "val")
    block = {"val_path": str(val), "augmentations": {"crop_size": 32, **fit}}
    cfg = dali_cfg(train, 4, block, crop_size=32)
    old = cfg | {"data": cfg["data"] | {"format": "image_folder"}}
    for build in (build_pretrain, build_classification):
        ours, theirs = (list(build(c).val_dataloader()) for c in (cfg, old))
        assert [len(x) for x, _ in ours] == [4, 4, 1]
        for a, b in zip(ours, theirs, strict=True):
            assert torch.equal(a[1], b[1])
            grey_levels = (a[0] - b[0]).abs() * 0.229 * 255
            assert grey_levels.max() < 2.5
            assert grey_levels.mean() < 0.3
        trained, _ = build(cfg).features_dataloaders()
        assert torch.cat([y for _, y in trained]).tolist() == [0] * 4 + [1] * 4


def test_a_probe_trains_on_crops(photos, dali_cfg):
    data = build_classification(dali_cfg(photos(10), 5, crop_size=16))
    assert data.task.labelled
    batches = epoch(data)
    assert [(x.shape, y.shape) for x, y in batches] == [((5, 3, 16, 16), (5,))] * 2
    assert not equal(batches, epoch(data, 1))


def test_the_whole_image_where_crops_are_off(photos, dali_cfg):
    path = photos(6)
    off = {
        name: {"prob": 0.0}
        for name in ("grayscale", "gaussian_blur", "solarization", "equalization")
    }
    off |= {"rrc": {"enabled": False}, "color_jitter": {"prob": 0.0}}
    off |= {"horizontal_flip": {"prob": 0.0}, "crop_size": 24}
    ours = epoch(build_pretrain(dali_cfg(path, 3, **off)))
    theirs = epoch(build_pretrain(dali_cfg(path, 3, {"format": "image_folder"}, **off)))
    for a, b in zip(ours, theirs, strict=True):
        assert ((a[1][0] - b[1][0]).abs() * 0.229 * 255).max() < 2.5


def shards(path, folder):
    with tarfile.open(path / "s.tar", "w") as archive:
        for file in sorted(folder.glob("*/*.jpg")):
            label = str("ab".index(file.parent.name)).encode()
            for suffix, content in ((".jpg", file.read_bytes()), (".cls", label)):
                info = tarfile.TarInfo(f"{file.stem}{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path / "s.tar"


def parquet(path, folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.glob("*/*.jpg"))
    images = [{"bytes": f.read_bytes(), "path": None} for f in files]
    labels = pa.array(["ab".index(f.parent.name) for f in files])
    pq.write_table(pa.table({"image": images, "label": labels}), path / "p.parquet")
    return path / "p.parquet"


def listed(path, folder):
    files = sorted(folder.glob("*/*.jpg"))
    (path / "l.txt").write_text("".join(f"{f} {f.parent.name}\n" for f in files))
    return path / "l.txt"


@pytest.mark.parametrize("store", [shards, parquet, listed])
def test_every_storage_gives_the_same_batches(photos, dali_cfg, tmp_path, store):
    folder = photos(9)
    expected = epoch(build_pretrain(dali_cfg(folder, 4)))
    assert equal(epoch(build_pretrain(dali_cfg(store(tmp_path, folder), 4))), expected)


def test_arrays_are_taken_too(dali_cfg, views_cfg):
    cfg = dali_cfg("nowhere", 8, {"dataset": "digits", "train_path": None, "fraction": 0.05})
    indexes, views, _ = epoch(build_pretrain(cfg))[0]
    assert views[0].shape == (8, 3, 8, 8)
    assert len(set(indexes.tolist())) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dali": {"device": "tpu"}}, r"dali\.device is 'tpu': choose auto, gpu or cpu"),
        ({"augmentations": [{"crop_size": 8, "num_crops": 2, "pipeline": "mine"}]}, "pipeline"),
        (
            {"augmentations": [{"crop_size": 8, "num_crops": 2, "order": "colour_first"}]},
            r"augmentations\[0\]\.order is colour_first: .* choose order crop_first",
        ),
    ],
)
def test_wrong_settings(photos, dali_cfg, changes, message):
    with pytest.raises(ConfigError, match=message):
        build_pretrain(dali_cfg(photos(4), 2) | changes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(photos, dali_cfg):
    with pytest.raises(ConfigError, match="no CUDA device: choose cpu"):
        build_pretrain(dali_cfg(photos(4), 2) | {"dali": {"device": "gpu"}})


def test_without_dali_the_extra_is_named(photos, dali_cfg, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nvidia.dali.fn", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[dali\]'"):
        build_pretrain(dali_cfg(photos(4), 2))
