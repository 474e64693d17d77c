# SPDX-License-Identifier: MIT
"""Image files in folders: one a class, Tiny-ImageNet's annotated val folder, or no labels."""

import io
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mixmask_solo.config import listing
from mixmask_solo.config.files import read_lines
from mixmask_solo.data.sources.base import (
    UNLABELLED,
    Encoded,
    ImageError,
    Request,
    Source,
    file_stamp,
    printable,
)
from mixmask_solo.data.sources.class_folders import (
    ANNOTATIONS,
    IMAGES,
    class_folders,
    listed_folders,
)
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES, Contents, images_below, look
from mixmask_solo.data.sources.splits import require_no_splits, split_folder

_log = logging.getLogger(__name__)

_OUTSIDE = "images outside the class folders"

Named = tuple[dict[str, str], list[str]]  # the class of each image by its path, all classes


class FolderSource(Source):
    """Image files at ``paths``, (N,), below the folder ``root``."""

    def __init__(
        self, root: Path, paths: Sequence[str], labels: Any, classes: Sequence[str]
    ) -> None:
        super().__init__(labels, classes)
        self.passed_over: Mapping[str, int] = {}  # kinds of what else lies there
        self.root = os.fspath(root)
        # one block of bytes: a list of strings would be copied into each worker, page by page, as
        # soon as the worker touches its reference counts
        self.paths = np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def path(self, index: int) -> str:
        return os.fsdecode(bytes(self.paths[index]))

    def name(self, index: int) -> str:
        return os.path.join(self.root, self.path(index))

    def identity(self) -> bytes:
        return self.paths.tobytes()

    def stamps(self, indexes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([file_stamp(self.name(index)) for index in indexes.tolist()], np.int64)

    def encoded(self, index: int) -> Encoded:
        try:
            return self._read(index)
        except OSError as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error.strerror}") from error

    def load(self, index: int) -> Image.Image:
        # from memory, as from other storages: an image of several frames wants its file open
        return Image.open(io.BytesIO(self._read(index).data))

    def _read(self, index: int) -> Encoded:
        with open(self.name(index), "rb", buffering=0, opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(f"{printable(self.name(index))} is no regular file")
            # not np.fromfile, which takes a disk's error for the file's end
            # room for one byte more, so that the end is met
            content, there = np.empty(status.st_size + 1, dtype=np.uint8), 0
            while count := file.readinto(content[there:].data):
                there += count
            rest = np.frombuffer(file.read() if there > status.st_size else b"", dtype=np.uint8)
            return np.concatenate([content, rest]) if len(rest) else content[:there]


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe that took a file's place has no end


def read_folder(request: Request) -> FolderSource:
    """The images of one split."""
    passed_over = Counter[str]()
    classes: list[str] = []
    root = split_folder(request)
    here = look(root)
    if request.no_labels:
        named = dict.fromkeys(images_below(root, passed_over), "")
    elif _is_annotated(root, here):
        named, classes = _annotated(root, passed_over, request)
    else:
        named, classes = _labelled(root, here, passed_over, request)
    if not named:
        raise request.wrong(f"no image in it ({listing(IMAGE_SUFFIXES)})")
    number = {name: label for label, name in enumerate(classes)}
    labels = [number.get(name, UNLABELLED) for name in named.values()]
    source = FolderSource(root, list(named), labels, classes)
    source.passed_over = +passed_over
    return source


def _labelled(root: Path, here: Contents, passed_over: Counter[str], request: Request) -> Named:
    """Each class has a folder of its own."""
    passed_over.update(here.passed_over)
    found = class_folders(root, here, request)
    classes = _known(found.values(), request)
    named: dict[str, str] = {}
    empty: list[str] = []
    for folder, name in found.items():
        images = images_below(root / folder, passed_over, (os.path.realpath(root),))
        named.update((os.path.join(folder, path), name) for path in images)
        if not images:
            empty.append(folder)
    if listed_folders(root, here.folders):
        passed_over[".txt"] -= 1
    else:
        require_no_splits(root, named, empty, request)
    for folder in empty:
        where = f"class folder {printable(folder)}"
        problem = f"{where} holds no image ({listing(IMAGE_SUFFIXES)})"
        if not request.lenient:
            raise request.wrong(f"{problem}; remove it, or set data.on_error=skip")
        _log.warning("%s is '%s': %s", request.key, request.path, problem)
    passed_over[_OUTSIDE] = len(here.images)
    if IMAGES in here.folders and IMAGES not in found:
        passed_over[_OUTSIDE] += _sorted_already(root, named, request)
    return named, classes


def _sorted_already(root: Path, paths: Iterable[str], request: Request) -> int:
    """How many images Tiny-ImageNet's val folder still holds beside its class folders."""
    left = images_below(root / IMAGES, Counter())
    there = {os.path.basename(path) for path in paths}
    lost = next((path for path in left if os.path.basename(path) not in there), None)
    if lost is not None:
        raise request.wrong(
            f"{IMAGES}/{lost} lies in no class folder: sort it too, or remove '{root / IMAGES}'"
        )
    return len(left)


def _is_annotated(root: Path, here: Contents) -> bool:
    """Whether this is Tiny-ImageNet's val folder as distributed: sorted, it has other folders."""
    return (root / ANNOTATIONS).is_file() and here.folders in ([], [IMAGES])


def _annotated(root: Path, passed_over: Counter[str], request: Request) -> Named:
    """All images lie in ``images/``, their classes stand in a file."""
    rows = [line.split("\t")[:2] for line in read_lines(root / ANNOTATIONS) if line.strip()]
    if any(len(row) != 2 for row in rows):
        raise request.wrong(f"{ANNOTATIONS} is damaged: each line is a file name, a tab, a class")
    found: dict[str, str] = {}
    for file, wnid in rows:
        if found.setdefault(file, wnid) != wnid:
            raise request.wrong(f"{ANNOTATIONS} gives {file} the classes {found[file]} and {wnid}")
    classes = _known(sorted(set(found.values())), request)
    named = {os.path.join(IMAGES, file): wnid for file, wnid in found.items()}
    absent = next((path for path in named if not (root / path).is_file()), None)
    if absent is not None:
        raise request.wrong(f"{ANNOTATIONS} names {absent}, which is not there")
    others = set(images_below(root, passed_over)) - set(named)
    passed_over[f"images that {ANNOTATIONS} does not name"] = len(others)
    passed_over[".txt"] -= 1  # the annotations
    return named, classes


def _known(found: Iterable[str], request: Request) -> list[str]:
    """The classes that number the labels: those of the training images, where they are known."""
    classes = list(request.classes or found)
    there = set(classes)
    unknown = next((name for name in found if name not in there), None)
    if unknown is not None:
        raise request.wrong(
            f"class {unknown} is not among the {len(classes)} classes of the training images"
        )
    return classes
