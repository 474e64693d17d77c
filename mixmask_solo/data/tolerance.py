# SPDX-License-Identifier: MIT
"""What a run does about images that cannot be read: ``data.on_error`` and ``data.max_errors``.

``raise`` stops at the first one and names it. ``skip`` trains on another image in its place, so
that batches stay full, and leaves it out where every image counts once (validation, features).
``blank`` puts an image of the data set's mean colour there. Both count the damaged images, each
once however often it is met, and stop when there are more than ``data.max_errors``.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DatasetInfo
from mixmask_solo.config.errors import did_you_mean
from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.sources import ImageError, Source
from mixmask_solo.data.sources.base import printable, reason

__all__ = [
    "MODES",
    "STRICT",
    "Damaged",
    "Tolerance",
    "damage_of",
    "substitutes",
    "tolerance",
]

MODES = ("raise", "skip", "blank")
DEFAULT_LIMIT = 100
_HASHED = 64


class Damaged(NamedTuple):
    """An image that cannot be read: where it lies, and what its decoder said."""

    name: str
    reason: str


class Tolerance:
    """One object a run, shared by all decoders and their worker processes.

    Workers cannot write into the main process' memory, and what a lock guards is lost with the
    worker that holds it. So all processes append lines to one file, which needs neither: short
    appends are atomic, and each process reads there how many damaged images all have met. It is
    temporary unless :meth:`keep_in` gives it a place; should it vanish, each knows what it met.

    Args:
        on_error: ``raise``, ``skip`` or ``blank``.
        max_errors: damaged images that ``skip`` and ``blank`` put up with.
        mean: colour of a blank image per channel, in [0, 1].
        size: edge of a blank image.
    """

    def __init__(
        self,
        on_error: str = "raise",
        max_errors: int = DEFAULT_LIMIT,
        *,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        size: int = 32,
    ) -> None:
        self.on_error = on_error
        self.max_errors = max_errors
        self.mean = tuple(mean)
        self.size = size
        self._known: dict[str, Damaged] = {}
        self._log: str | None = None
        if on_error != "raise":
            handle, self._log = tempfile.mkstemp(prefix="mixmask-damaged-", suffix=".jsonl")
            os.close(handle)
            weakref.finalize(self, _remove, self._log, os.getpid())

    def keep_in(self, log: Path) -> None:
        """Names the file that outlasts the process; workers that start later write there.

        What an interrupted run met stands there already and counts. The file is made with its
        folder when the first damaged image is met.
        """
        if self._log is not None:
            met, self._log = self.damaged(), str(log)
            for one in met:
                _append(self._log, one)

    def failed(self, source: Source, index: int, error: Exception) -> None:
        """Takes note of an image that cannot be read.

        Args:
            source: where it comes from.
            index: its number there.
            error: what its decoder raised.

        Raises:
            ImageError: under ``raise``, and when there are more than ``max_errors``.
        """
        if self._log is None:
            if isinstance(error, ImageError):
                raise error
            raise ImageError(" ".join(damage_of(source, index, error))) from error
        name = printable(source.name(index))
        if name in self._known:
            return
        self._known[name] = damage = damage_of(source, index, error)
        _append(self._log, damage)
        if len(self.damaged()) > self.max_errors:  # after the append, so that the last one sees all
            raise ImageError(
                f"more than {self.max_errors} images cannot be read (data.max_errors), the last is "
                f"{name}: {damage.reason}; mixmask-data check lists them all"
            ) from error

    def pick(self, source: Source, index: int, *, seed: int, epoch: int) -> tuple[int, Image.Image]:
        """An image for one place of a training batch.

        Args:
            source: the images.
            index: the one whose turn it is.
            seed: with epoch and index it decides which image takes a damaged one's place.
            epoch: number of the epoch.

        Returns:
            The index of the image that is really there, and its pixels in RGB.

        Raises:
            ImageError: under ``raise``, over the limit, or when no image at all can be read.
        """
        image = self.read(source, index)
        if image is not None:
            return index, image
        for other in substitutes(len(source), index, seed=seed, epoch=epoch):
            image = self.read(source, other)
            if image is not None:
                return other, image
        raise ImageError(f"none of the {len(source)} images can be read")

    def read(self, source: Source, index: int) -> Image.Image | None:
        """One image in RGB: a blank one where ``blank`` says so, None where ``skip`` does.

        Raises:
            ImageError: under ``raise``, or over the limit.
        """
        try:
            return source.image(index)
        except ImageError as error:
            self.failed(source, index, error)
        return self.blank() if self.on_error == "blank" else None

    def blank(self) -> Image.Image:
        """An image of the mean colour."""
        red, green, blue = (round(255 * value) for value in self.mean)
        return Image.new("RGB", (self.size, self.size), (red, green, blue))

    def damaged(self) -> list[Damaged]:
        """All damaged images that any process has met so far, each once."""
        if self._log is None:
            return []
        try:
            with open(self._log, encoding="ascii") as file:
                lines = file.read().split("\n")[:-1]  # the rest is being written
        except FileNotFoundError:
            lines = []
        found: dict[str, Damaged] = {}
        for line in lines:
            one = Damaged(*json.loads(line))
            found.setdefault(one.name, one)
        return list((found | self._known).values())

    def gather(self) -> None:
        """Shares what each training process has met; all of them have to call this."""
        import torch.distributed as dist

        if self._log is None or not (dist.is_available() and dist.is_initialized()):
            return
        lists: list[list[Damaged]] = [[] for _ in range(dist.get_world_size())]
        dist.all_gather_object(lists, self.damaged())
        known = {found.name for found in self.damaged()}
        for one in dict.fromkeys(one for found in lists for one in found):
            if one.name not in known:
                _append(self._log, one)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_known": {}}


STRICT = Tolerance()
"""Raises at the first damaged image."""


def tolerance(block: dict[str, Any], dataset: DatasetInfo) -> Tolerance:
    """What a ``data`` block asks for.

    Args:
        block: ``on_error`` and ``max_errors`` are read.
        dataset: gives colour and size of blank images.

    Raises:
        ConfigError: for an unknown mode or an impossible limit.
    """
    mode = block.get("on_error") or "raise"
    if mode not in MODES:
        near = did_you_mean(str(mode), MODES)
        raise ConfigError(f"data.on_error is {mode!r}: choose raise, skip or blank{near}")
    limit = block.get("max_errors")
    limit = DEFAULT_LIMIT if limit is None else limit
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise ConfigError(f"data.max_errors is {limit!r}: give a whole number, at least 0")
    return Tolerance(mode, limit, mean=dataset.mean, size=dataset.size)


def substitutes(size: int, index: int, *, seed: int, epoch: int) -> Iterator[int]:
    """Images that may take the place of a damaged one, in the order in which to try them.

    A function of its arguments alone, so that every decoder, worker and resumed run chooses alike:
    first drawn ones, then, where so many are damaged, all others in turn.
    """
    for attempt in range(_HASHED):
        yield mix(seed, epoch, index, attempt) % size
    yield from ((index + step) % size for step in range(1, size))


def damage_of(source: Source, index: int, error: Exception) -> Damaged:
    """What to say of an image whose decoder raised ``error``."""
    name = printable(source.name(index))
    if isinstance(error, ImageError):
        return Damaged(name, str(error).removeprefix(name).strip())
    return Damaged(name, reason(error))


def _append(log: str, one: Damaged) -> None:
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, (json.dumps(one) + "\n").encode("ascii"))
    finally:
        os.close(handle)


def _remove(log: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker's copy goes before the main process is done
        Path(log).unlink(missing_ok=True)
