# SPDX-License-Identifier: MIT
"""CIFAR-10, CIFAR-100 and STL-10 in the files torchvision keeps them in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.arrays import ArraySource
from mixmask_solo.data.sources.request import Request

__all__ = ["read_cifar", "read_stl10"]

DEFAULT_FOLDER = "datasets"

_FILES = {
    "cifar10": "cifar-10-batches-py/ (unpacked from cifar-10-python.tar.gz)",
    "cifar100": "cifar-100-python/ (unpacked from cifar-100-python.tar.gz)",
    "stl10": "stl10_binary/ (unpacked from stl10_binary.tar.gz)",
}


def read_cifar(request: Request) -> ArraySource:
    """CIFAR-10 or CIFAR-100 from torchvision's Python batches."""
    data = _open(request, request.dataset.upper(), train=request.training)
    return ArraySource(data.data, data.targets, data.classes, request.dataset)


def read_stl10(request: Request) -> ArraySource:
    """STL-10: 105,000 images for pretraining (5,000 of them labelled), 5,000 train, 8,000 test."""
    split = {"pretrain": "train+unlabeled", "train": "train", "val": "test"}[request.split]
    data = _open(request, "STL10", split=split)
    # (N, 3, H, W) on disk; one pass over memory here instead of a copy an image later
    images = np.ascontiguousarray(data.data.transpose(0, 2, 3, 1))
    return ArraySource(images, data.labels, data.classes, request.dataset)


def _open(request: Request, name: str, **split: Any) -> Any:
    import torchvision

    folder = Path(request.path or DEFAULT_FOLDER).expanduser()
    opener = getattr(torchvision.datasets, name)
    try:
        if not request.download:
            return opener(folder, **split)
        folder.mkdir(parents=True, exist_ok=True)
        # several training processes may come here at once: one fetches, the others wait
        with FileLock(folder / f".{request.dataset}.lock"):
            return opener(folder, download=True, **split)
    except (RuntimeError, OSError) as error:
        raise _missing(request, folder, error) from None


def _missing(request: Request, folder: Path, error: Exception) -> ConfigError:
    if next(folder.glob("*.parquet"), None) is not None:
        return ConfigError(
            f"{request.key} is '{folder}', which holds Parquet files: set data.format=parquet"
        )
    if request.download:
        return ConfigError(f"{request.key} is '{folder}': the download failed: {error}")
    return ConfigError(
        f"{request.key} is '{folder}': {request.dataset} is not there (or not whole): "
        f"put {_FILES[request.dataset]} into it, or set data.download=true"
    )
