# SPDX-License-Identifier: MIT
"""Image files in folders: one folder a class, Tiny-ImageNet's annotated val folder, or no labels.

The readers of ``imagenet``, ``imagenet100``, ``tiny-imagenet``, ``custom`` and ``image_folder``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mixmask_solo.config.nearest import listing
from mixmask_solo.data.imagenet100 import IMAGENET100
from mixmask_solo.data.sources.base import Encoded, ImageError, Source, printable
from mixmask_solo.data.sources.class_names import read_lines
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES, class_names, images_below, split_folder

__all__ = ["FolderSource", "count_classes", "read_folder"]

_log = logging.getLogger(__name__)

ANNOTATIONS = "val_annotations.txt"
UNLABELLED = -1


class FolderSource(Source):
    """Image files below one folder.

    Args:
        root: the folder.
        paths: (N,) paths relative to it.
        labels: (N,) integers.
        classes: names in the order of the labels; empty without labels.
    """

    def __init__(
        self, root: Path, paths: Sequence[str], labels: Sequence[int], classes: Sequence[str]
    ) -> None:
        super().__init__(labels, classes)
        self.root = os.fspath(root)
        # one block of bytes: a list of a million strings would be copied into each worker,
        # page by page, as soon as the worker touches its reference counts
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def name(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(bytes(self.paths[index])))

    def encoded(self, index: int) -> Encoded:
        try:
            return np.fromfile(self.name(index), dtype=np.uint8)
        except OSError as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error.strerror}") from error

    def load(self, index: int) -> Image.Image:
        with Image.open(self.name(index)) as image:
            image.load()
            return image


def read_folder(request: Request) -> FolderSource:
    """The images of one split.

    Raises:
        ConfigError: for a folder that is missing, empty or has other classes than training.
    """
    root = _root(request)
    if request.no_labels:
        source = _unlabelled(root)
    elif (root / ANNOTATIONS).is_file():
        source = _annotated(root, request)
    else:
        source = _labelled(root, request)
    if len(source) == 0:
        raise request.wrong(f"no image in it ({listing(IMAGE_SUFFIXES)})")
    return source


def count_classes(request: Request) -> int:
    """Number of class folders, without a look into them; 1 where there are no labels.

    Raises:
        ConfigError: for a folder that is missing or without class folders.
    """
    return 1 if request.no_labels else len(_classes(_root(request), request))


def _root(request: Request) -> Path:
    root = split_folder(request.folder(), training=request.training)
    if root is None:
        raise request.wrong(f"no folder of the {request.split} split in it")
    return root


def _unlabelled(root: Path) -> FolderSource:
    paths = images_below(root)
    return FolderSource(root, paths, [UNLABELLED] * len(paths), [])


def _labelled(root: Path, request: Request) -> FolderSource:
    found = _classes(root, request)
    classes = list(request.classes or found)
    number = {name: label for label, name in enumerate(classes)}
    paths: list[str] = []
    labels: list[int] = []
    for name in found:
        _require_known(name, number, request)
        below = [os.path.join(name, path) for path in images_below(root / name)]
        if not below:
            problem = f"class folder {printable(name)} holds no image ({listing(IMAGE_SUFFIXES)})"
            if not request.lenient:
                raise request.wrong(f"{problem}; remove it, or set data.on_error=skip")
            _log.warning("%s is '%s': %s", request.key, request.path, problem)
        paths += below
        labels += [number[name]] * len(below)
    return FolderSource(root, paths, labels, classes)


def _classes(root: Path, request: Request) -> list[str]:
    found = class_names(root)
    if not found:
        flat = any(entry.suffix.lower() in IMAGE_SUFFIXES for entry in root.iterdir())
        hint = "; for images without labels set data.no_labels=true" if flat else ""
        raise request.wrong(f"no class folder in it{hint}")
    if request.dataset == "imagenet100" and len(found) > len(IMAGENET100):
        return _only_the_hundred(found, request)
    return found


def _only_the_hundred(found: Sequence[str], request: Request) -> list[str]:
    absent = sorted(IMAGENET100 - set(found))
    if absent:
        raise request.wrong(
            f"{len(absent)} of ImageNet-100's classes are not there, {absent[0]} for one"
        )
    return [name for name in found if name in IMAGENET100]


def _annotated(root: Path, request: Request) -> FolderSource:
    """Tiny-ImageNet's val folder as distributed: all images in ``images/``, classes in a file."""
    lines = read_lines(root / ANNOTATIONS)
    rows = [line.split("\t")[:2] for line in lines if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise request.wrong(f"{ANNOTATIONS} is damaged: each line is a file name, a tab, a class")
    classes = list(request.classes or sorted({wnid for _, wnid in rows}))
    number = {name: label for label, name in enumerate(classes)}
    for _, wnid in rows:
        _require_known(wnid, number, request)
    paths = [os.path.join("images", file) for file, _ in rows]
    absent = next((path for path in paths if not (root / path).is_file()), None)
    if absent is not None:
        raise request.wrong(f"{ANNOTATIONS} names {absent}, which is not there")
    return FolderSource(root, paths, [number[wnid] for _, wnid in rows], classes)


def _require_known(name: str, number: dict[str, int], request: Request) -> None:
    if name not in number:
        raise request.wrong(
            f"class {name} is not among the {len(number)} classes of the training images"
        )
