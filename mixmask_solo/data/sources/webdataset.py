# SPDX-License-Identifier: MIT
"""WebDataset: tar shards in which files of one name up to the first dot make up a sample.

The image is the file with an image's extension. A sample without one, but with several such as
``a.v2.jpg`` and ``a.v3.jpg``, holds several images. The label is what ``.cls`` says, or ``label``
in ``.json``, of the image's own name or else of the sample. Names of the classes may stand in
``classes.txt`` beside the shards, one a line.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.data.sources.base import Encoded, ImageError, Labels, Source, printable
from mixmask_solo.data.sources.class_folders import listed_names
from mixmask_solo.data.sources.files import Handles
from mixmask_solo.data.sources.label_values import numbered
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.shards import find_shards
from mixmask_solo.data.sources.tar_index import TarImage, index_of

_QUOTED = {ord(c): f"%{ord(c):02X}" for c in "%.\n\r\t\v\f"}


class TarSource(Source):
    """Encoded images within tar shards; of each, its shard's number and its place there."""

    def __init__(
        self,
        shards: Sequence[Path],
        images: Sequence[tuple[int, TarImage]],
        labels: Labels,
        classes: Sequence[str],
    ) -> None:
        super().__init__(labels, classes)
        self.shards = [os.fspath(shard) for shard in shards]
        self.places = np.array([(shard, one.offset, one.size) for shard, one in images], np.int64)
        self.keys = np.array([os.fsencode(image.path) for _, image in images], dtype=np.bytes_)
        self._handles = Handles(self.shards, _opened)

    def name(self, index: int) -> str:
        return f"{self.shards[self.places[index, 0]]} {os.fsdecode(bytes(self.keys[index]))}"

    def path(self, index: int) -> str:
        return untar_name(os.fsdecode(bytes(self.keys[index])))

    def encoded(self, index: int) -> Encoded:
        shard, offset, size = self.places[index].tolist()
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
    """The images of one split."""
    shards = find_shards(request, ".tar", "tar shard")
    listed = listed_names(shards[0].parent)
    indexes = [index_of(shard, labels=not request.no_labels) for shard in shards]
    images = [(number, image) for number, index in enumerate(indexes) for image in index.images]
    if not images:
        raise request.wrong("no image in its tar shards")

    def where(row: int) -> str:
        number, image = images[row]
        return f"{shards[number]}: {printable(image.path)}"

    texts = ["" if request.no_labels else image.label for _, image in images]
    labels, classes = numbered(texts, where, request, listed)
    source = TarSource(shards, images, labels, classes)
    source.columns = tuple(sorted({name for index in indexes for name in index.extensions}))
    return source


def tar_name(path: str) -> str:
    """A path as the name of a shard's member, in which a sample's key ends at the first dot."""
    head, slash, file = path.rpartition("/")
    stem, suffix = os.path.splitext(file)
    return f"{head}{slash}{stem.translate(_QUOTED)}{suffix}"


def untar_name(name: str) -> str:
    """The path that ``tar_name`` was given."""
    head, slash, file = name.rpartition("/")
    plain = {quoted: chr(code) for code, quoted in _QUOTED.items()}
    return head + slash + re.sub("|".join(plain), lambda found: plain[found[0]], file)
