# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mixmask_solo.data.decoders.dali.gpu import Gpu


@pytest.fixture
def photo() -> Callable[..., Image.Image]:
    """``photo(number)``: smooth colours with some texture, 60 wide and 48 high."""

    def make(number: int, size: tuple[int, int] = (60, 48), mode: str = "RGB") -> Image.Image:
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC)).astype(np.int64)
        noisy = pixels + rng.integers(-12, 13, pixels.shape)
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).convert(mode)

    return make


@pytest.fixture
def jpeg(photo: Callable[..., Image.Image]) -> Callable[..., bytes]:
    """``jpeg(number, **how)``: bytes of a JPEG file of its own."""

    def make(number: int, mode: str = "RGB", size: tuple[int, int] = (60, 48), **how: Any) -> bytes:
        buffer = io.BytesIO()
        photo(number, size, mode).save(buffer, "JPEG", **how)
        return buffer.getvalue()

    return make


@pytest.fixture
def photos(tmp_path: Path, jpeg: Callable[..., bytes]) -> Callable[..., Path]:
    """``photos(12)``: a folder of JPEG files in two classes, a and b in turn."""

    def make(count: int, where: str = "photos") -> Path:
        for i in range(count):
            folder = tmp_path / where / "ab"[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            size = (60 + 7 * (i % 3), 48 + 5 * (i % 4))
            (folder / f"{i:03d}.jpg").write_bytes(jpeg(i, size=size))
        return tmp_path / where

    return make


@pytest.fixture
def dali_cfg(views_cfg: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """``dali_cfg(path, batch_size, **changes)``: as ``views_cfg``, decoded by DALI on the CPU."""
    pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")

    def make(
        path: Path, batch_size: int = 4, data: dict[str, Any] | None = None, **changes: Any
    ) -> dict[str, Any]:
        block = {"dataset": "custom", "format": "dali", "train_path": str(path)} | (data or {})
        return views_cfg(block, batch_size, **changes) | {"dali": {"device": "cpu"}}

    return make


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Lets a data module decode as on a GPU, wherever; gives its training loader."""

    def put(data: Any, place: str, prefetch: int = 2, readers: int = 1) -> Any:
        def somewhere(device: Any, threads: int, _: int, batch_size: int, *rest: Any) -> Gpu:
            return Gpu(torch.device(place), 1, prefetch, batch_size, readers)

        monkeypatch.setattr("mixmask_solo.data.decoders.dali.decoder.Gpu", somewhere)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        data.decoder.on_gpu = lambda data: True
        return data.train_dataloader()

    return put
