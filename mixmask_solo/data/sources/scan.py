# SPDX-License-Identifier: MIT
"""Which image files a folder holds."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["IMAGE_SUFFIXES", "class_names", "images_below", "split_folder"]

# torchvision's list, and .gif, which it passes over in silence
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")

_SPLITS = {"train": ("train",), "val": ("val", "validation", "valid", "test")}


def class_names(folder: Path) -> list[str]:
    """Names of the sub-folders, sorted: the label of a class is its place here."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def images_below(folder: Path) -> list[str]:
    """Paths of all images at any depth, relative to ``folder``, in torchvision's order."""
    found = []
    for parent, _, files in sorted(os.walk(folder, followlinks=True)):
        below = os.path.relpath(parent, folder)
        for file in sorted(files):
            if file.lower().endswith(IMAGE_SUFFIXES):
                found.append(os.path.normpath(os.path.join(below, file)))
    return found


def split_folder(root: Path, *, training: bool) -> Path | None:
    """The sub-folder of one split where ``root`` holds the splits side by side.

    Args:
        root: a folder of classes, or one with ``train`` and perhaps ``val`` or ``test`` in it.
        training: which split.

    Returns:
        ``root`` itself where it holds no ``train`` folder; None where only this split is absent.
    """
    if not (root / "train").is_dir():
        return root
    names = _SPLITS["train" if training else "val"]
    return next((root / name for name in names if (root / name).is_dir()), None)
