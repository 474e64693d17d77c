# SPDX-License-Identifier: MIT
"""Workers and pinned memory go by where the network runs, not by what the machine has."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from PIL import Image

from mixmask_solo.data import ImageData, build_classification
from mixmask_solo.data.order import workers
from mixmask_solo.data.order.loading import WorkerLoader


@pytest.fixture(params=["image_folder", "dali"])
def data(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ImageData:
    """On a machine of 16 cores with a GPU, that no trainer uses yet."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.new("RGB", (20, 20)).save(tmp_path / name / "0.jpg")
    monkeypatch.setattr(workers, "core_share", lambda processes: 16)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    path = str(tmp_path)
    block = {"dataset": "custom", "format": request.param, "train_path": path, "val_path": path}
    view = {"crop_size": 16, "num_crops": 1}
    cfg = {"data": block, "optimizer": {"batch_size": 2}, "augmentations": [view]}
    return build_classification(OmegaConf.create(cfg))


def loaders(data: ImageData) -> list[Any]:
    return [data.train_dataloader(), data.val_dataloader(), *data.features_dataloaders()]


def test_a_network_on_the_cpu_keeps_most_cores_and_nothing_is_pinned(data: ImageData) -> None:
    data.trainer = Trainer(accelerator="cpu", devices=1, logger=False, barebones=True)
    for loader in loaders(data):
        assert isinstance(loader, WorkerLoader)  # DALI does not decode on the idle GPU
        assert (loader.num_workers, loader.pin_memory) == (4, False)


def test_a_network_that_nobody_trains_runs_where_it_is_said_to(data: ImageData) -> None:
    """As in mixmask-knn: ``device=cpu`` there leaves the GPU alone."""
    assert not any(getattr(loader, "pin_memory", False) for loader in loaders(data))
    data.network_device = torch.device("cuda", 0)
    assert data.worker_count == 16
    if data.block["format"] == "dali":
        assert data.decoder.on_gpu(data)  # type: ignore[attr-defined]
        return
    for loader in loaders(data):
        assert (loader.num_workers, loader.pin_memory, loader.device.type) == (16, True, "cuda")
