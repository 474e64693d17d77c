# SPDX-License-Identifier: MIT
"""No loader waits for the GPU, whoever decodes; DALI's pipelines are stand-ins without kernels."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor

from mixmask_solo.data import ImageData, build_classification, build_pretrain
from mixmask_solo.data.decoders.dali import gpu as dali_gpu
from mixmask_solo.data.order.loading import prefetched
from support.fake_cuda import Watch, fake_gpu

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")

_BATCH, _SIZE = 8, 16
_VIEW = {
    "rrc": {"enabled": True, "crop_min_scale": 0.2, "crop_max_scale": 1.0},
    "color_jitter": {
        "prob": 0.8,
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.2,
        "hue": 0.1,
    },
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5},
    "solarization": {"prob": 0.2},
    "equalization": {"prob": 0.2},
    "horizontal_flip": {"prob": 0.5},
    "crop_size": _SIZE,
    "num_crops": 2,
}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Data modules believe that they are on the GPU."""
    here = property(lambda self: torch.device("cuda", 0))
    with fake_gpu(monkeypatch) as watch:
        monkeypatch.setattr(ImageData, "device", here)
        yield watch


def config(**data: Any) -> Any:
    blocks = {
        "seed": 7,
        "data": {"num_workers": 0, **data},
        "optimizer": {"batch_size": _BATCH},
        "augmentations": [_VIEW],
    }
    return OmegaConf.create(blocks)


def waits(watch: Watch, loader: Any, skip: int = 1) -> tuple[Any, Counter[Any]]:
    """The last batch, and what waited in all batches but the first ones."""
    before: Counter[Any] = Counter()
    for number, batch in enumerate(loader, start=1):  # noqa: B007  (the last one is returned)
        if number == skip:
            before = Counter(watch.found)
    assert on_gpu(batch)
    assert number > skip + 1
    return batch, watch.found - before


def on_gpu(batch: Any) -> bool:
    """Whether images and labels lie there."""
    tensors = [x for part in batch for x in (part if isinstance(part, list) else [part])]
    return all(x.device.type == "cuda" for x in tensors)


@pytest.mark.parametrize("home", ["device", "host"])
def test_resident_training(gpu: Watch, home: str) -> None:
    data = build_pretrain(config(dataset="digits", format="resident", resident_on=home))
    batch, found = waits(gpu, data.train_dataloader())
    assert on_gpu(batch)
    assert [view.shape for view in batch[1]] == [(_BATCH, 3, _SIZE, _SIZE)] * 2
    assert not found


@pytest.mark.parametrize("home", ["device", "host"])
def test_resident_evaluation(gpu: Watch, home: str) -> None:
    data = build_classification(config(dataset="digits", format="resident", resident_on=home))
    for loader in data.features_dataloaders():
        batch, found = waits(gpu, loader)
        assert on_gpu(batch)
        assert not found


class _Pipeline:
    """Takes files as DALI's does and gives squares on the GPU."""

    def __init__(self, views: Any) -> None:
        self.sizes = [view.size for view in views]

    def feed_input(self, name: str, values: Any) -> None:
        self.count = len(values)

    def schedule_run(self) -> None: ...
    def release_outputs(self) -> None: ...
    def share_outputs(self, cuda_stream: Any = None) -> list[Any]:
        def output(size: int) -> Any:
            squares = torch.empty(self.count, size, size, 3, dtype=torch.uint8, device="cuda")
            return SimpleNamespace(as_tensor=lambda: squares)

        return [output(size) for size in self.sizes]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(5 * _BATCH):
        file = tmp_path / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (48, 60, 3), dtype=np.uint8)).save(file)
    return tmp_path


@pytest.fixture
def dali(gpu: Watch, monkeypatch: pytest.MonkeyPatch) -> Watch:
    pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
    monkeypatch.setattr(dali_gpu, "crops", lambda views, *_: _Pipeline(views))
    monkeypatch.setattr(torch, "from_dlpack", lambda x: x)
    return gpu


@pytest.mark.parametrize("readers", [1, 4])
def test_dali_training(dali: Watch, photos: Path, readers: int) -> None:
    cfg = config(dataset="custom", format="dali", train_path=str(photos))
    cfg.dali = {"readers": readers}
    loader = build_pretrain(cfg).train_dataloader()
    assert loader.make.gpu.readers == readers
    list(loader)
    batch, found = waits(dali, loader)  # of the second epoch, with the pipelines of the first
    assert on_gpu(batch)
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in batch[1])
    assert not found


def test_dali_evaluation(dali: Watch, photos: Path) -> None:
    path = str(photos)
    cfg = config(dataset="custom", format="dali", train_path=path, val_path=path)
    data = build_classification(cfg)
    for loader in data.features_dataloaders():
        batch, found = waits(dali, loader)
        assert on_gpu(batch)
        assert not found


def test_batches_of_worker_processes(gpu: Watch) -> None:
    def pinned(x: Tensor) -> Tensor:
        return x.pin_memory()

    def made() -> Iterator[Any]:
        for _ in range(4):
            views = [pinned(torch.rand(_BATCH, 3, _SIZE, _SIZE)) for _ in range(2)]
            yield [pinned(torch.arange(_BATCH)), views, pinned(torch.arange(_BATCH))]

    batches = prefetched(made(), torch.device("cuda", 0), channels_last=True)
    batch, found = waits(gpu, batches, skip=0)
    assert on_gpu(batch)
    assert not found
