# SPDX-License-Identifier: MIT
"""WebDataset: tar shards in which files of one name up to the first dot make up a sample.

The image is the component with an image's extension. A sample without one, but with several such
as ``a.v2.jpg`` and ``a.v3.jpg``, holds several images. The label is what ``.cls`` says, or
``label`` in ``.json``, of the image's own name or else of the sample. Names of the classes may
stand in ``classes.txt`` beside the shards, one a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import (
    Encoded,
    EncodedSource,
    ImageError,
    Labels,
    printable,
)
from mixmask_solo.data.sources.class_names import known_names, read_lines
from mixmask_solo.data.sources.handles import Handles
from mixmask_solo.data.sources.labels import numbered
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES
from mixmask_solo.data.sources.shards import find_shards
from mixmask_solo.data.sources.side_file import kept_labels, remember
from mixmask_solo.data.sources.tar_index import Component, Sample, index_of

__all__ = ["CLASSES_FILE", "TarSource", "read_webdataset"]

CLASSES_FILE = "classes.txt"
_IMAGES = {suffix[1:] for suffix in (*IMAGE_SUFFIXES, ".gif")}
_LABELS = ("cls", "json")

Labelled = tuple[Component, list[Component]]


class TarSource(EncodedSource):
    """Encoded images within tar shards.

    Args:
        shards: the files in order.
        places: (N, 3) int64: number of the shard, first byte, number of bytes of each image.
        keys: (N,) names of the images within their shards.
        labels: (N,) integers.
        classes: names in the order of the labels; empty without labels.
    """

    def __init__(
        self,
        shards: Sequence[Path],
        places: Any,
        keys: Sequence[str],
        labels: Labels,
        classes: Sequence[str],
    ) -> None:
        super().__init__(labels, classes)
        self.shards = [os.fspath(shard) for shard in shards]
        self.places = np.asarray(places, dtype=np.int64).reshape(-1, 3)
        self.keys = np.array([os.fsencode(key) for key in keys], dtype=np.bytes_)
        self._handles = Handles(self.shards, _opened)

    def name(self, index: int) -> str:
        return f"{self.shards[self.places[index, 0]]} {os.fsdecode(bytes(self.keys[index]))}"

    def encoded(self, index: int) -> Encoded:
        shard, offset, size = (int(value) for value in self.places[index])
        try:
            content = os.pread(self._handles[shard].fileno(), size, offset)
        except OSError as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error}") from error
        if len(content) < size:
            raise ImageError(f"{self.name(index)} cannot be read: its shard was cut off")
        return np.frombuffer(content, dtype=np.uint8)


def _opened(shard: str) -> Any:
    return open(shard, "rb", buffering=0)  # closed when nobody holds it


def read_webdataset(request: Request) -> TarSource:
    """The images of one split.

    Raises:
        ConfigError: for a path without shards, a damaged shard, or a label that is none.
    """
    shards = find_shards(request, ".tar", "tar shard")
    listed = _listed(shards[0].parent)
    places: list[tuple[int, int, int]] = []
    keys: list[str] = []
    texts: list[str] = []
    extensions: set[str] = set()
    for at, shard in enumerate(shards):
        images = [pair for sample in index_of(shard) for pair in _images(sample)]
        for image, labels in images:
            places.append((at, image.offset, image.size))
            keys.append(image.path)
            extensions |= {image.extension.lower(), *(part.extension.lower() for part in labels)}
        texts += [""] * len(images) if request.no_labels else _texts(shard, images)
    if not places:
        raise request.wrong("no image in its tar shards")

    def where(row: int) -> str:
        return f"{shards[places[row][0]]}: {printable(keys[row])}"

    found, classes = numbered(texts, where, request, listed)
    source = TarSource(shards, places, keys, found, classes)
    source.columns = tuple(sorted(extensions))
    return source


def _images(sample: Sample) -> list[Labelled]:
    """The images of a sample, each with the components that may hold its label, best first."""
    parts = {part.extension.lower(): part for part in sample}
    exact = [part for part in sample if part.extension.lower() in _IMAGES]
    ending = [part for part in sample if part.extension.lower().rpartition(".")[2] in _IMAGES]
    found = []
    for image in exact[:1] or ending:
        middle = image.extension.lower().rpartition(".")[0]
        names = [f"{middle}.{kind}" for kind in _LABELS if middle] + list(_LABELS)
        found.append((image, [parts[name] for name in names if name in parts]))
    return found


def _listed(folder: Path) -> list[str]:
    place = folder / CLASSES_FILE
    if not place.is_file():
        return []
    return known_names(read_lines(place))


def _texts(shard: Path, images: Sequence[Labelled]) -> list[str]:
    """The labels of a shard, kept beside it as well: reading them means reading all over it."""
    texts = kept_labels(shard, len(images))
    if texts is None:
        with shard.open("rb") as file:
            texts = [_text(file, labels[0], shard) if labels else "" for _, labels in images]
        remember(shard, labels=texts)
    return texts


def _text(file: Any, part: Component, shard: Path) -> str:
    file.seek(part.offset)
    raw = file.read(part.size)
    try:
        text = raw.decode("utf-8")
        if part.extension.lower().endswith("json"):
            value = json.loads(text)
            label = value.get("label") if isinstance(value, dict) else None
            if not isinstance(label, (str, int, float, type(None))):
                raise ValueError(f"it is {type(label).__name__}")
            text = "" if label is None else str(label)
    except ValueError as error:
        raise ConfigError(f"{shard}: {printable(part.path)} holds no label: {error}") from None
    return " ".join(text.split())
