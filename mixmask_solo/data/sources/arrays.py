# SPDX-License-Identifier: MIT
"""Data sets that lie in memory as one array: the digits, CIFAR-10, CIFAR-100 and STL-10."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Labels, Request, Source

_FILES = {
    "cifar10": "cifar-10-batches-py/ (unpacked from cifar-10-python.tar.gz)",
    "cifar100": "cifar-100-python/ (unpacked from cifar-100-python.tar.gz)",
    "stl10": "stl10_binary/ (unpacked from stl10_binary.tar.gz)",
}


class ArraySource(Source):
    """A small data set as one array, (N, H, W, 3) uint8; messages call it ``title``."""

    def __init__(
        self, images: NDArray[np.uint8], labels: Any, classes: Sequence[str], title: str
    ) -> None:
        super().__init__(labels, classes)
        self.images = images
        self.title = title

    def load(self, index: int) -> Image.Image:
        return Image.fromarray(self.images[index])

    def name(self, index: int) -> str:
        return f"{self.title} image {index}"


def held_out(labels: Labels) -> NDArray[np.bool_]:
    """(N,) bool: every fifth image of each class, so that the split is the same for ever."""
    of_class = labels[:, None] == np.unique(labels)
    return (of_class & (of_class.cumsum(axis=0) % 5 == 0)).any(axis=1)


def read_digits(request: Request) -> ArraySource:
    """Scikit-learn's scans of 8x8 pixels: the training (1,442) or the held-out split (355)."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    chosen = held_out(scans.target) != request.training
    grey = np.rint(scans.images[chosen] * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    return ArraySource(images, scans.target[chosen], [str(d) for d in range(10)], "digits")


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

    folder = Path(request.path or "datasets").expanduser()
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
    if folder.suffix == ".parquet" or next(folder.glob("*.parquet"), None) is not None:
        held = "is a Parquet file" if folder.is_file() else "holds Parquet files"
        problem = f", which {held}: set data.format=parquet (or resident)"
    elif request.download:
        problem = f": the download failed: {error}"
    else:
        problem = (
            f": {request.dataset} is not there (or not whole): put {_FILES[request.dataset]} into "
            "it, or set data.download=true"
        )
    return ConfigError(f"{request.key} is '{folder}'{problem}")
