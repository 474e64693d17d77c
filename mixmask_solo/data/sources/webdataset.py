# SPDX-License-Identifier: MIT
"""WebDataset: tar shards in which files of one name up to the first dot make up a sample.

The image is the component with an image's extension; the label is the number in ``.cls``, or
``label`` in ``.json``. Names of the classes stand in ``classes.txt`` beside the shards, one a line;
then ``.cls`` may hold a name too. Shards are mapped into memory and read in any order.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Encoded, EncodedSource, ImageError, Labels
from mixmask_solo.data.sources.class_names import complete, known_names, read_lines
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import IMAGE_SUFFIXES
from mixmask_solo.data.sources.shards import find_shards
from mixmask_solo.data.sources.tar_index import (
    Component,
    Sample,
    beside,
    index_of,
    is_fresh,
    write_beside,
)

__all__ = ["CLASSES_FILE", "TarSource", "read_webdataset"]

CLASSES_FILE = "classes.txt"
_IMAGES = {suffix[1:] for suffix in (*IMAGE_SUFFIXES, ".gif")}
_UNLABELLED = -1


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
        self._maps: dict[int, mmap.mmap] = {}

    def name(self, index: int) -> str:
        return f"{self.shards[self.places[index, 0]]} {os.fsdecode(bytes(self.keys[index]))}"

    def encoded(self, index: int) -> Encoded:
        shard, offset, size = (int(value) for value in self.places[index])
        try:
            return np.frombuffer(self._map(shard), dtype=np.uint8, count=size, offset=offset)
        except (OSError, ValueError) as error:
            raise ImageError(f"{self.name(index)} cannot be read: {error}") from error

    def _map(self, shard: int) -> mmap.mmap:
        if shard not in self._maps:
            with open(self.shards[shard], "rb") as file:
                self._maps[shard] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[shard]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_maps": {}}


def read_webdataset(request: Request) -> TarSource:
    """The images of one split.

    Raises:
        ConfigError: for a path without shards, a damaged shard, or a label that is none.
    """
    shards = find_shards(request, ".tar", "tar shard")
    classes = list(request.classes or _listed(shards[0].parent))
    number = {name: label for label, name in enumerate(classes)}
    places: list[tuple[int, int, int]] = []
    keys: list[str] = []
    labels: list[int] = []
    for at, shard in enumerate(shards):
        samples = [sample for sample in index_of(shard) if _image(sample) is not None]
        for sample in samples:
            image = _image(sample)
            assert image is not None
            places.append((at, image.offset, image.size))
            keys.append(image.path)
        if not request.no_labels:
            labels += _labels(shard, samples, number)
    if not places:
        raise request.wrong("no image in its tar shards")
    found = np.array(labels or [_UNLABELLED] * len(places), dtype=np.int64)
    return TarSource(shards, places, keys, found, complete(classes, found, request))


def _image(sample: Sample) -> Component | None:
    exact = [part for part in sample if part.extension.lower() in _IMAGES]
    ending = [part for part in sample if part.extension.lower().rpartition(".")[2] in _IMAGES]
    return next(iter(exact or ending), None)


def _listed(folder: Path) -> list[str]:
    place = folder / CLASSES_FILE
    if not place.is_file():
        return []
    return known_names(read_lines(place))


def _labels(shard: Path, samples: Sequence[Sample], number: dict[str, int]) -> list[int]:
    """The labels of a shard, kept beside it as well: reading them means reading all over it."""
    place = beside(shard, ".labels")
    if is_fresh(place, shard):
        text = place.read_text(encoding="utf-8", errors="replace")
        kept = text.splitlines()
        if len(kept) == len(samples) and "\ufffd" not in text:  # else it was damaged meanwhile
            return [
                _number(text, number, shard, sample)
                for text, sample in zip(kept, samples, strict=True)
            ]
    with shard.open("rb") as file:
        texts = [_label_text(file, sample, shard) for sample in samples]
    labels = [
        _number(text, number, shard, sample) for text, sample in zip(texts, samples, strict=True)
    ]
    write_beside(place, "".join(f"{text}\n" for text in texts))
    return labels


def _label_text(file: Any, sample: Sample, shard: Path) -> str:
    parts = {part.extension.lower(): part for part in sample}
    part = parts.get("cls") or parts.get("json")
    if part is None:
        return ""
    file.seek(part.offset)
    raw = file.read(part.size)
    try:
        text = raw.decode("utf-8")
        if part.extension.lower() == "json":
            value = json.loads(text)
            text = str(value.get("label", "")) if isinstance(value, dict) else ""
    except ValueError as error:
        raise ConfigError(f"{shard}: {part.path} holds no label: {error}") from None
    return " ".join(text.split())


def _number(text: str, number: dict[str, int], shard: Path, sample: Sample) -> int:
    if not text:
        return _UNLABELLED
    if text in number:
        return number[text]
    try:
        label = int(text)
    except ValueError:
        label = -2
    if label < _UNLABELLED:
        raise ConfigError(
            f"{shard}: the label of {sample[0].path} is {text!r}: give a number from 0, or a name "
            f"that {CLASSES_FILE} beside the shards lists"
        )
    return label
