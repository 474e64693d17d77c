# SPDX-License-Identifier: MIT
"""A whole source, decoded once, as one tensor."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from mixmask_solo import screen
from mixmask_solo.config import ConfigError
from mixmask_solo.data.batched.plan import to_device
from mixmask_solo.data.decoders.resident.memory import in_words
from mixmask_solo.data.order.workers import Loader
from mixmask_solo.data.sources import ImageError, Source, Subset
from mixmask_solo.data.sources.arrays import ArraySource
from mixmask_solo.data.tolerance import Reader

_log = logging.getLogger(__name__)
_AT_ONCE = 256


class Stack:
    """All images of a reader's source; batches are made on ``device``.

    ``planes`` are (3, N, H, W) uint8, on a GPU or in the machine's memory: each channel of a batch
    is one block of memory.
    """

    def __init__(self, reader: Reader, planes: Tensor, device: torch.device) -> None:
        self.reader = reader
        self.planes = planes
        self.device = device
        self.labels = reader.source.labels
        self.present = reader.present().numpy()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image."""
        return int(self.planes.shape[2]), int(self.planes.shape[3])

    def __str__(self) -> str:
        return _words(len(self), *self.size)

    def take(self, indexes: NDArray[np.int64]) -> Tensor:
        """Some of the images, (3, n, H, W) uint8 on ``device``; a GPU is not waited for."""
        chosen = to_device(indexes, self.planes.device)
        if self.planes.device == self.device:
            return self.planes.index_select(1, chosen)
        picked = torch.empty(
            (3, len(indexes), *self.size), dtype=torch.uint8, pin_memory=self.device.type == "cuda"
        )
        torch.index_select(self.planes, 1, chosen, out=picked)
        return picked.to(self.device, non_blocking=True)


def decode(
    reader: Reader,
    choose: Callable[[int, str], torch.device],
    *,
    device: torch.device,
    workers: int = 0,
    quiet: bool = False,
) -> Stack:
    """Reads every image of a source, in this process or in workers.

    ``choose`` says from the bytes needed and the images in words where they are kept.

    Raises:
        ConfigError: for images of different sizes, naming the first odd one, or too many.
        ImageError: for damaged ones, as far as the run does not put up with them.
    """
    count, arrays = len(reader), _arrays(reader.source)
    if arrays is not None:
        home = choose(arrays.size, _words(count, *arrays.shape[1:3]))
        planes = torch.from_numpy(np.ascontiguousarray(arrays.transpose(3, 0, 1, 2)))
        return Stack(reader, planes.to(home), device)
    chunks = _Chunks(reader.source)
    height, width = chunks.size
    home = choose(3 * count * height * width, _words(count, height, width))
    planes = torch.empty((3, count, height, width), dtype=torch.uint8, device=home)
    colour = torch.tensor(reader.tolerance.colour, dtype=torch.uint8, device=home)[:, None, None]
    decoded: Iterable[Any] = _loader(chunks, workers)
    if not quiet:
        decoded = _told(decoded, count, f"{in_words(planes.nbytes)} on {home}")
    for number, (pixels, failures) in enumerate(decoded):
        first = number * _AT_ONCE
        planes[:, first : first + _AT_ONCE] = pixels.to(home)
        for index, error in failures:
            if isinstance(error, ConfigError):
                raise error
            reader.failed(index, error)
            planes[:, index] = colour
    return Stack(reader, planes, device)


def _told(chunks: Iterable[Any], count: int, where: str) -> Iterator[Any]:
    """A bar, and a line at the end if it took long."""
    begun = time.monotonic()
    with screen.task("decoding images", count) as shown:
        for chunk in chunks:
            yield chunk
            shown.done = min(count, shown.done + _AT_ONCE)
    if (seconds := time.monotonic() - begun) > 1.0:
        _log.info("%s images decoded in %.0f s, %s", f"{count:,}", seconds, where)


class _Chunks(Dataset[Any]):
    """Item k: images from k · 256 on as (3, n, H, W) uint8, and what went wrong with which."""

    def __init__(self, source: Source) -> None:
        self.source = source
        for self.first in range(len(source)):
            with suppress(ImageError):
                width, height = source.image(self.first).size
                self.size = (height, width)
                return
        raise ImageError(f"none of the {len(source)} images can be read")

    def __len__(self) -> int:
        return -(-len(self.source) // _AT_ONCE)

    def __getitem__(self, chunk: int) -> tuple[Tensor, list[tuple[int, Exception]]]:
        indexes = range(chunk * _AT_ONCE, min((chunk + 1) * _AT_ONCE, len(self.source)))
        pixels = np.zeros((3, len(indexes), *self.size), dtype=np.uint8)
        failures: list[tuple[int, Exception]] = []
        for place, index in enumerate(indexes):
            try:
                pixels[:, place] = self._planes(index)
            except (ConfigError, ImageError) as error:
                # without the cause: a disk may recover, but nothing is read twice here
                failures.append((index, type(error)(str(error))))
        return torch.from_numpy(pixels), failures

    def _planes(self, index: int) -> NDArray[np.uint8]:
        image = np.asarray(self.source.image(index))
        (height, width), name = image.shape[:2], self.source.name
        if (height, width) != self.size:
            raise ConfigError(
                f"data.format is resident, which needs images of one size: {name(index)} is "
                f"{width}x{height}, {name(self.first)} {self.size[1]}x{self.size[0]}; "
                "set data.format=dali, or to how they are stored"
            )
        return image.transpose(2, 0, 1)


def _words(count: int, height: int, width: int) -> str:
    return f"{count:,} images of {width}x{height}"


def _loader(chunks: _Chunks, workers: int) -> Loader:
    workers = min(workers, len(chunks) // 4)  # starting one takes longer than a few chunks
    if workers:
        chunks.source.warm()
    generator = torch.Generator().manual_seed(0)  # not the global one, which a loader draws from
    return Loader(chunks, batch_size=None, num_workers=workers, generator=generator)


def _arrays(source: Source) -> NDArray[np.uint8] | None:
    """(N, H, W, 3) where the images lie in memory already."""
    if isinstance(source, Subset):
        whole = _arrays(source.source)
        return None if whole is None else whole[source.indexes]
    return source.images if isinstance(source, ArraySource) else None
