# SPDX-License-Identifier: MIT
"""Small images on disk, in every layout the readers know."""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """``picture(number)``: a random image of its own, 12 wide and 10 high."""

    def make(number: int, size: tuple[int, int] = (12, 10), mode: str = "RGB") -> Image.Image:
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        return Image.fromarray(pixels).convert(mode)

    return make


@pytest.fixture
def class_folders(picture: Callable[..., Image.Image]) -> Callable[..., Path]:
    """``class_folders(root, {"cat": 3, "dog": 2})``: a folder of PNG files for each class."""

    def make(root: Path, counts: dict[str, int], below: str = "") -> Path:
        number = 0
        for name, count in counts.items():
            folder = root / name / below
            folder.mkdir(parents=True)
            for i in range(count):
                picture(number).save(folder / f"{name}_{i}.png")
                number += 1
        return root

    return make


@pytest.fixture
def shard(picture: Callable[..., Image.Image]) -> Callable[..., Path]:
    """``shard(path, labels)``: a Parquet file as the Hugging Face hub has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def make(
        path: Path,
        labels: list[int],
        names: list[str] | None = None,
        first: int = 0,
        rows_per_group: int = 4,
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        images = [{"bytes": png(picture(first + i)), "path": None} for i in range(len(labels))]
        table = pa.table({"image": images, "label": pa.array(labels, pa.int64())})
        if names is not None:
            features = {"label": {"names": names, "_type": "ClassLabel"}}
            meta = json.dumps({"info": {"features": features}})
            table = table.replace_schema_metadata({"huggingface": meta})
        pq.write_table(table, path, row_group_size=rows_per_group)
        return path

    return make


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def real_data() -> Path:
    """The folder of real data sets that the environment names."""
    folder = os.environ.get("MIXMASK_DATA")
    if not folder:
        pytest.skip("MIXMASK_DATA names no folder of real images")
    return Path(folder)


@pytest.fixture
def views_cfg() -> Callable[..., dict[str, Any]]:
    """``views_cfg(data, **changes)``: a pretraining configuration with every random operation."""

    def make(data: dict[str, Any], batch_size: int = 4, **changes: Any) -> dict[str, Any]:
        entry = {
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
            "crop_size": 8,
            "num_crops": 2,
        } | changes
        return {
            "seed": 7,
            "data": {"num_workers": 0} | data,
            "optimizer": {"batch_size": batch_size},
            "augmentations": [entry],
        }

    return make


class _Stop(Exception):
    pass


class _Recorder(pl.LightningModule):
    """Notes every batch whose step is done, bit for bit, and may stop on the way."""

    def __init__(self, stop: tuple[int, int] | None, hook: str, path: Path) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[Any] = []
        self.stop, self.hook, self.path = stop, hook, path

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        indexes, views, _ = batch
        pixels = [view.contiguous().numpy().tobytes() for view in views]
        self.seen.append((self.current_epoch, batch_idx, indexes.tolist(), pixels))
        return (self.weight * 0).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def _maybe_stop(self, hook: str, batch_idx: int) -> None:
        if (hook, self.current_epoch, batch_idx) == (self.hook, *(self.stop or ())):
            self.trainer.save_checkpoint(self.path)
            raise _Stop

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._maybe_stop("on_train_batch_start", batch_idx)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._maybe_stop("on_train_batch_end", batch_idx)

    def on_validation_end(self) -> None:
        self._maybe_stop("on_validation_end", 0)

    def on_train_epoch_end(self) -> None:
        self._maybe_stop("on_train_epoch_end", 0)


@pytest.fixture
def batches_seen(tmp_path: Path) -> Callable[..., list[Any]]:
    """``batches_seen(build)``: (epoch, number, indexes, pixels) of each batch of three epochs.

    ``build`` makes a data module, anew for each trainer. With ``stop=(epoch, number)`` the run
    saves and stops there, in ``hook``, and another one goes on from that checkpoint.
    """

    def run(
        build: Callable[[], Any],
        stop: tuple[int, int] | None = None,
        hook: str = "on_train_batch_start",
        **kwargs: Any,
    ) -> list[Any]:
        path = tmp_path / "stopped.ckpt"

        def fit(model: _Recorder, ckpt: Path | None = None) -> None:
            trainer = pl.Trainer(
                max_epochs=3,
                accelerator="cpu",
                devices=1,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                use_distributed_sampler=False,
                num_sanity_val_steps=0,
                default_root_dir=tmp_path,
                **kwargs,
            )
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*dataloader is not resumable.*")
                trainer.fit(model, datamodule=build(), ckpt_path=ckpt)

        first, second = _Recorder(stop, hook, path), _Recorder(None, hook, path)
        if stop is None:
            fit(first)
        else:
            with pytest.raises(_Stop):
                fit(first)
            fit(second, path)
        return first.seen + second.seen

    return run
