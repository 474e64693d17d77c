# SPDX-License-Identifier: MIT
"""What tells the images of a run from others."""

import hashlib
from typing import Any, Protocol

import numpy as np

from mixmask_solo.data.sources import Source
from mixmask_solo.data.tolerance import Tolerance


class Images(Protocol):
    """What a run asks its data module for, besides loaders."""

    block: dict[str, Any]  # ``data`` of the configuration
    batch_size: int
    decoder: Any  # has a ``title``
    tolerance: Tolerance
    train_labels: str
    held_out: Source | None  # of the training images, kept apart

    @property
    def opened(self) -> Source:
        """The training images."""

    @property
    def val_source(self) -> Source | None:
        """The validation images, where there are any."""

    @property
    def num_classes(self) -> int:
        """Number of classes, 1 without labels."""

    def prepare_data(self) -> None:
        """Downloads what may be downloaded."""

    def steps(self, world: int) -> int:
        """Batches of an epoch in each of ``world`` processes."""


def identity(data: Images) -> dict[str, Any]:
    """Number of images and classes, digests of labels and names, of each split that there is.

    A resumed run compares them: the paths may have moved, the images must not have changed.

    Raises:
        ConfigError: where the images cannot be found.
    """
    splits = {"train": data.opened, "val": data.val_source, "holdout": data.held_out}
    return {
        name: {
            "images": len(source),
            "classes": len(source.classes),
            "labels": digest(source),
            "names": _names(source),
        }
        for name, source in splits.items()
        if source is not None
    }


def digest(source: Source) -> str:
    """Of the class names and of every image's label in order."""
    classes = "\0".join(source.classes).encode("utf-8", "surrogateescape")
    return _hex(classes, np.ascontiguousarray(source.labels).tobytes())


def _names(source: Source) -> str:
    names = (source.name(index).rsplit("/", 2)[-2:] for index in range(len(source)))  # folders move
    return _hex(*(f"{'/'.join(name)}\0".encode("utf-8", "surrogateescape") for name in names))


def _hex(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=8).hexdigest()
