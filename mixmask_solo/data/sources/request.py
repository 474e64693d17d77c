# SPDX-License-Identifier: MIT
"""One question to a reader: which split of which data set, and where it lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mixmask_solo.config import ConfigError

Split = Literal["pretrain", "train", "val"]


@dataclass(frozen=True)
class Request:
    """What a reader needs to know; all that is not explained are keys of the ``data`` block."""

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

    def unlisted(self, error: OSError) -> ConfigError:
        """An error about a folder below ``path`` that the system does not let us read."""
        return self.wrong(f"{error.filename} cannot be read: {error.strerror}")
