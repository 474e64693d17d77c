# SPDX-License-Identifier: MIT
"""What a target is: how its file is named, written, and loaded by the target's own library."""

from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mixmask_solo.export import recipe
from mixmask_solo.export.source import Outputs, Source


class Loaded(NamedTuple):
    """What a library made of a file.

    Attributes:
        by: library and version.
        outputs: of the images it was given.
        unseen: why it was another library than the target's, if it was.
    """

    by: str
    outputs: Outputs
    unseen: str = ""


class Target:
    """One format; all of its files lie in one folder."""

    suffix: str  # of the default name, behind the checkpoint's
    ends: tuple[str, ...] = ()  # of names that its readers take; empty for all
    head = False  # whether there is room for a projector
    beside = False  # whether the facts lie beside the file, since the format has no room

    def refuse(self, source: Source) -> None:
        """Raises ConfigError for a network that the format cannot hold."""

    def files(self, source: Source) -> tuple[str, ...]:
        """Names of further files in the same folder."""
        return ()

    def write(self, source: Source, path: Path, place: Path) -> None:
        """Writes to ``path``, and to its folder, what is going to lie at ``place``."""
        raise NotImplementedError

    def lines(self, source: Source, place: Path) -> list[str]:
        """Python that loads the file as ``model``, for a user to copy."""
        raise NotImplementedError

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        """Runs the lines on a file; they raise where a weight is missing or left over."""
        lines = self.lines(source, path)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            model = recipe.run(lines)
            return Loaded(_library(lines), {"feats": model(images)})

    def images(self, source: Source) -> Tensor:
        """What the network sees of ``source.images`` for the outputs that are compared."""
        return source.images


def library(name: str) -> str:
    """Name and version of an installed package."""
    return f"{name} {version(name)}"


def _library(lines: list[str]) -> str:
    return library("timm" if any("timm." in line for line in lines) else "torchvision")
