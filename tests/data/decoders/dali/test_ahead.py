# SPDX-License-Identifier: MIT
"""The loaders for a GPU, run on the CPU: order, prefetch, recovery. Pixels on a GPU: mark gpu."""

from __future__ import annotations

import threading
from unittest.mock import MagicMock

import pytest
import torch

from mixmask_solo.data import ImageError, build_pretrain
from mixmask_solo.data.decoders.dali import pipelines
from mixmask_solo.data.tools import convert, open_path
from mixmask_solo.evaluation.features import extract

STILL = {
    "color_jitter": {"prob": 0.0},
    "grayscale": {"prob": 0.0},
    "gaussian_blur": {"prob": 0.0},
    "solarization": {"prob": 0.0},
    "equalization": {"prob": 0.0},
    "crop_size": 16,
}
PLACES = [
    "cpu",
    pytest.param(
        "cuda:0",
        marks=[
            pytest.mark.gpu,
            pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
        ],
    ),
]


def scramble(file):
    data = bytearray(file.read_bytes())
    at = data.index(b"\xff\xc4")
    data[at + 5 : at + 20] = b"\xff" * 15
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("prefetch", [1, 3])
def test_batches_are_those_of_the_workers(photos, dali_cfg, ahead, place, prefetch):
    data = build_pretrain(dali_cfg(photos(13), 3, **STILL))
    other = data.train_dataloader()
    loader = ahead(data, place, prefetch)
    assert len(loader) == 4
    for number, start in ((0, 0), (1, 0), (1, 2)):
        loader.batches.set_epoch(number, start)
        other.batches.set_epoch(number, start)
        pairs = list(zip(loader, other, strict=True))
        assert len(pairs) == 4 - start
        for ours, theirs in pairs:
            assert torch.equal(ours[0].cpu(), theirs[0])
            assert torch.equal(ours[2].cpu(), theirs[2])
            for a, b in zip(ours[1], theirs[1], strict=True):
                levels = (a.cpu() - b).abs() * 0.226 * 255
                assert levels.mean() < 1.5  # DALI's cubic resize and torch's


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("prefetch", [1, 2, 4])
def test_damaged_images_are_replaced_in_their_batch(photos, dali_cfg, ahead, place, prefetch):
    path = photos(16)
    for name in ("a/004.jpg", "b/005.jpg", "b/011.jpg"):
        scramble(path / name)
    data = build_pretrain(dali_cfg(path, 2, {"on_error": "skip"}, **STILL))
    seen = [batch[0].tolist() for batch in ahead(data, place, prefetch)]
    again = build_pretrain(dali_cfg(path, 2, {"on_error": "skip"}, **STILL))
    assert seen == [batch[0].tolist() for batch in again.train_dataloader()]
    assert len(data.tolerance.damaged()) == 3


@pytest.mark.parametrize("readers", [1, 4])
@pytest.mark.parametrize("place", PLACES)
def test_raise_names_the_file_and_leaves_no_thread(photos, dali_cfg, ahead, place, readers):
    path = photos(8)
    scramble(path / "b" / "003.jpg")
    data = build_pretrain(dali_cfg(path, 2, **STILL))
    with pytest.raises(ImageError, match=r"003\.jpg cannot be decoded"):
        list(ahead(data, place, readers=readers))
    assert not [t for t in threading.enumerate() if t.name.startswith("mixmask-read")]


@pytest.mark.parametrize("readers", [1, 4])
def test_an_iteration_may_end_early(photos, dali_cfg, ahead, readers):
    data = build_pretrain(dali_cfg(photos(12), 2, **STILL))
    loader = ahead(data, "cpu", readers=readers)
    whole = list(loader)
    for _ in range(2):
        iterator = iter(loader)
        next(iterator)
        iterator.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("mixmask-read")]
    assert_equal(list(loader), whole)


@pytest.mark.parametrize("storage", ["image_folder", "parquet", "webdataset"])
@pytest.mark.parametrize("on_error", ["skip", "blank"])
def test_threads_change_nothing(photos, dali_cfg, ahead, tmp_path, storage, on_error):
    path = photos(23)
    for name in ("a/004.jpg", "b/005.jpg", "b/011.jpg", "a/012.jpg"):
        scramble(path / name)
    if storage != "image_folder":
        convert(open_path(path), tmp_path / storage, storage)
        path = tmp_path / storage
    seen = {}
    for readers in (1, 4):
        data = build_pretrain(dali_cfg(path, 2, {"on_error": on_error}))
        loader = ahead(data, "cpu", readers=readers)
        batches = list(loader)
        loader.batches.set_epoch(1, 3)  # goes on within an epoch
        batches += list(loader)
        damaged = sorted(one.name for one in data.tolerance.damaged())
        assert len(damaged) == 4
        seen[readers] = batches, damaged
    assert_equal(seen[1][0], seen[4][0])
    assert seen[1][1] == seen[4][1]


@pytest.mark.parametrize("stop", [(1, 2), (1, 0)])
def test_a_resumed_run_goes_on_with_the_next_batch(photos, dali_cfg, ahead, batches_seen, stop):
    path = photos(13)

    def build():
        data = build_pretrain(dali_cfg(path, 3))
        ahead(data, "cpu", readers=4)
        return data

    whole = batches_seen(build)
    assert [(e, b) for e, b, *_ in whole] == [(e, b) for e in range(3) for b in range(4)]
    assert batches_seen(build, stop) == whole


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[2], b[2])
        assert all(map(torch.equal, a[1], b[1]))


def test_pipelines_stay_built(photos, dali_cfg, ahead, monkeypatch):
    built = []

    def counted(*options):
        built.append(options)
        return pipelines.crops(*options)

    monkeypatch.setattr("mixmask_solo.data.decoders.dali.gpu.crops", counted)
    loader = ahead(build_pretrain(dali_cfg(photos(12), 2, **STILL)), "cpu", prefetch=2)
    for _ in range(3):
        whole = list(loader)
    assert len(built) == 2
    first, second = iter(loader), iter(loader)  # at the same time: not with the same pipelines
    pairs = [[one, next(second)] for one in first]
    second.close()
    assert len(built) == 4
    for ours in zip(*pairs, strict=True):
        assert_equal(ours, whole)


@pytest.mark.parametrize(("device", "given"), [("cuda:0", {"hw_decoder_load": 0.9}), ("cpu", {})])
def test_the_load_of_the_hardware_is_for_gpus(monkeypatch, device, given):
    dali = MagicMock()
    monkeypatch.setattr(pipelines, "library", lambda: dali)
    monkeypatch.setattr(pipelines, "_built", lambda dali, outputs, **_: outputs("encoded"))
    pipelines.crops([], 2, 1, torch.device(device), 0.9)
    options = dali.fn.decoders.image.call_args.kwargs
    assert {k: v for k, v in options.items() if k == "hw_decoder_load"} == given


@pytest.mark.parametrize("place", PLACES)
def test_images_in_order_with_the_incomplete_last_batch(photos, dali_cfg, ahead, place):
    path = photos(9)
    scramble(path / "a" / "002.jpg")
    data = build_pretrain(dali_cfg(path, 4, {"on_error": "skip", "val_path": str(path)}, **STILL))
    expected = list(data.val_dataloader())
    ahead(data, place)
    loader = data.val_dataloader()
    batches = list(loader)
    assert len(loader) == 3
    assert [len(x) for x, _ in batches] == [3, 4, 1]
    features, labels = extract(torch.nn.Flatten(), loader, "cpu")  # k-NN and cached probes
    assert features["backbone"].equal(torch.cat([x for x, _ in batches]).flatten(1).cpu())
    assert labels.equal(torch.cat([y for _, y in batches]).cpu())
    for (a, labels), (b, others) in zip(batches, expected, strict=True):
        assert labels.tolist() == others.tolist()
        assert ((a.cpu() - b).abs() * 0.226 * 255).mean() < 1.5
