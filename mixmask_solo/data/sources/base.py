# SPDX-License-Identifier: MIT
"""What a source of images is asked for, and what every one offers."""

import io
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.blocks import Blocks

Encoded = NDArray[np.uint8]
Labels = NDArray[np.int64]
Split = Literal["pretrain", "train", "val"]
UNLABELLED = -1


class ImageError(ValueError):
    """An image that cannot be read or decoded; the message names its file."""


def printable(name: str) -> str:
    """A file's name in one line of a message, with escapes for what no line can hold."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def reason(error: Exception) -> str:
    """What a decoder's error says, in one line."""
    said = str(error) if isinstance(error, (OSError, ValueError)) else repr(error)
    return f"cannot be decoded: {' '.join(said.split()) or repr(error)}"


def file_stamp(path: str) -> int:
    """Another number when a file's size or time of change is another; 0 without a file."""
    try:
        status = os.stat(path)
    except OSError:
        return 0
    return hash((status.st_size, status.st_mtime_ns)) or 1


@dataclass(frozen=True)
class Request:
    """One question to a reader; what is not explained are keys of the ``data`` block."""

    dataset: str
    split: Split
    path: str | None  # file, folder or glob
    key: str  # that of ``path``, for messages
    download: bool = False
    no_labels: bool = False
    root: str | None = None
    lenient: bool = False  # a class folder without images is put up with
    classes: Sequence[str] | None = None  # the training split's, which number the labels of ``val``
    num_classes: int | None = None
    image_column: str | None = None
    label_column: str | None = None

    @property
    def training(self) -> bool:
        return self.split != "val"

    @property
    def words(self) -> tuple[str, ...]:
        """What folders or shards of the split are called, best first."""
        return ("train",) if self.training else ("val", "test")

    def folder(self) -> Path:
        """The folder at ``path``, which has to be there."""
        if self.path is None:
            raise ConfigError(f"{self.key} is missing: give the folder of {self.dataset}")
        folder = Path(self.path).expanduser()
        if not folder.is_dir():
            what = "is a file" if folder.is_file() else "no such folder"
            raise ConfigError(f"{self.key} is '{self.path}': {what}; give a folder of images")
        return folder

    def wrong(self, problem: str) -> ConfigError:
        """An error about what lies at ``path``."""
        return ConfigError(f"{self.key} is '{self.path}': {problem}")


class Source(ABC):
    """Images by number, with labels at hand and pixels on demand.

    A source is picklable, opens its files in the process that reads them, and holds no random
    state.

    Args:
        labels: (N,) integers, -1 where an image has none; kept as int64.
        classes: names in the order of the labels; empty without labels.
    """

    columns: tuple[str, ...] = ()  # of the table that the images stand in, for messages

    def __init__(self, labels: Any, classes: Sequence[str]) -> None:
        self.labels: Labels = np.asarray(labels, dtype=np.int64)
        self.classes = list(classes)

    @abstractmethod
    def name(self, index: int) -> str:
        """Where the image comes from, for messages."""

    def path(self, index: int) -> str | None:
        """The path that the image was found at, where the storage keeps it."""
        return None

    def encoded(self, index: int) -> Encoded | None:
        """(bytes,) uint8 of the stored file, perhaps read-only; None where arrays are stored.

        Raises:
            ImageError: when it cannot be read.
        """
        return None

    def identity(self) -> bytes:
        """Which images these are and in which order, wherever they lie; nothing for arrays."""
        return b""

    def stamps(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of each image the :func:`file_stamp` of the file or shard that holds it."""
        return np.zeros(len(indexes), dtype=np.int64)

    def load(self, index: int) -> Image.Image:
        """The image as stored, in any mode; may raise what its decoder raises."""
        stored = self.encoded(index)
        assert stored is not None, "a source of arrays has its own way to load them"
        return Image.open(io.BytesIO(stored.data))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes; 1 without labels, as solo-learn counts."""
        return max(1, len(self.classes))

    def image(self, index: int) -> Image.Image:
        """The image in RGB.

        Raises:
            ImageError: when it cannot be decoded.
        """
        try:
            return self.load(index).convert("RGB")
        except ImageError:
            raise
        except Exception as error:  # on damaged bytes Pillow's readers raise nearly anything
            raise ImageError(f"{printable(self.name(index))} {reason(error)}") from error

    def label(self, index: int) -> int:
        """The label, -1 when there is none."""
        return int(self.labels[index])

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """A random order of all indexes, (N,) int64."""
        return torch.randperm(len(self), generator=generator)

    def blocks(self) -> Blocks | None:
        """Which images are read together; None where any order will do."""
        return None

    def warm(self) -> None:  # noqa: B027 - most sources have nothing to do
        """Loads what worker processes should share instead of loading it once each."""


class Subset(Source):
    """Images of another source at ``indexes``, (n,) distinct integers; the classes stay."""

    def __init__(self, source: Source, indexes: Any) -> None:
        self.source = source
        self.indexes = np.asarray(indexes, dtype=np.int64)
        super().__init__(source.labels[self.indexes], source.classes)
        self.columns = source.columns

    def load(self, index: int) -> Image.Image:
        return self.source.load(int(self.indexes[index]))

    def encoded(self, index: int) -> Encoded | None:
        return self.source.encoded(int(self.indexes[index]))

    def identity(self) -> bytes:
        return self.source.identity() + self.indexes.tobytes()

    def stamps(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.source.stamps(self.indexes[indexes])

    def name(self, index: int) -> str:
        return self.source.name(int(self.indexes[index]))

    def path(self, index: int) -> str | None:
        return self.source.path(int(self.indexes[index]))

    def shuffled(self, generator: torch.Generator) -> Tensor:
        place = torch.full((len(self.source),), -1, dtype=torch.int64)
        place[torch.from_numpy(self.indexes)] = torch.arange(len(self))
        order = place[self.source.shuffled(generator)]
        return order[order >= 0]

    def blocks(self) -> Blocks | None:
        whole = self.source.blocks()
        return None if whole is None else whole._replace(of=whole.of[self.indexes])

    def warm(self) -> None:
        self.source.warm()
