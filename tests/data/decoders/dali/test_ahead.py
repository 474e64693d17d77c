# SPDX-License-Identifier: MIT
"""The loaders for a GPU, run on the CPU: order, prefetch, recovery. Pixels on a GPU: mark gpu."""

from __future__ import annotations

import threading

import pytest
import torch

from mixmask_solo.data import ImageError, build_pretrain
from mixmask_solo.data.decoders.dali.decoding import Gpu
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.gpu import GpuEpochLoader, GpuPlainLoader
from mixmask_solo.data.decoders.dali.views import augmented, unaugmented
from mixmask_solo.data.order.sampler import Shard
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


def ahead(data, place, prefetch=2):
    feeder = Feeder(data.opened, data.seed, data.tolerance, training=True)
    gpu = Gpu(torch.device(place), 1, prefetch)
    return GpuEpochLoader(feeder, augmented(data.pipelines), data.batches(), gpu, labelled=False)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("prefetch", [1, 3])
def test_batches_are_those_of_the_workers(photos, dali_cfg, place, prefetch):
    data = build_pretrain(dali_cfg(photos(13), 3, **STILL))
    loader = ahead(data, place, prefetch)
    assert len(loader) == 4
    other = data.train_dataloader()
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
def test_damaged_images_are_replaced_in_their_batch(photos, dali_cfg, place, prefetch):
    path = photos(16)
    for name in ("a/004.jpg", "b/005.jpg", "b/011.jpg"):
        scramble(path / name)
    data = build_pretrain(dali_cfg(path, 2, {"on_error": "skip"}, **STILL))
    seen = [batch[0].tolist() for batch in ahead(data, place, prefetch)]
    again = build_pretrain(dali_cfg(path, 2, {"on_error": "skip"}, **STILL))
    assert seen == [batch[0].tolist() for batch in again.train_dataloader()]
    assert len(data.tolerance.damaged()) == 3


@pytest.mark.parametrize("place", PLACES)
def test_raise_names_the_file_and_leaves_no_thread(photos, dali_cfg, place):
    path = photos(8)
    scramble(path / "b" / "003.jpg")
    data = build_pretrain(dali_cfg(path, 2, **STILL))
    with pytest.raises(ImageError, match=r"003\.jpg cannot be decoded"):
        list(ahead(data, place))
    assert not [t for t in threading.enumerate() if t.name.startswith("mixmask-read")]


def test_an_iteration_may_end_early(photos, dali_cfg):
    data = build_pretrain(dali_cfg(photos(12), 2, **STILL))
    loader = ahead(data, "cpu")
    for _ in range(2):
        iterator = iter(loader)
        next(iterator)
        iterator.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("mixmask-read")]


@pytest.mark.parametrize("place", PLACES)
def test_images_in_order_with_the_incomplete_last_batch(photos, dali_cfg, place):
    path = photos(9)
    scramble(path / "a" / "002.jpg")
    data = build_pretrain(dali_cfg(path, 4, {"on_error": "skip", "val_path": str(path)}, **STILL))
    source = data.opened
    view = unaugmented(data.dataset, 16, (0.5,) * 3, (1.0,) * 3)
    feeder = Feeder(source, 0, data.tolerance, training=False)
    shard = Shard(source)
    loader = GpuPlainLoader(feeder, view, shard, 4, Gpu(torch.device(place), 1, 2))
    batches = list(loader)
    assert len(loader) == 3
    assert [len(x) for x, _ in batches] == [3, 4, 1]
    features, labels = extract(torch.nn.Flatten(), loader, "cpu")  # k-NN and cached probes
    assert features["backbone"].equal(torch.cat([x for x, _ in batches]).flatten(1).cpu())
    assert labels.equal(torch.cat([y for _, y in batches]).cpu())
    data.pipelines[0] = data.pipelines[0].__class__(
        **{**vars(data.pipelines[0]), "mean": (0.5,) * 3, "std": (1.0,) * 3}
    )
    for (a, labels), (b, expected) in zip(batches, data.val_dataloader(), strict=True):
        assert labels.tolist() == expected.tolist()
        assert ((a.cpu() - b).abs() * 255).mean() < 1.5
