# SPDX-License-Identifier: MIT
"""What a run does about images that cannot be read: ``data.on_error`` and ``data.max_errors``.

``raise`` stops at the first one and names it. ``skip`` trains on another image in its place, so
that batches stay full, and leaves it out where every image counts once (validation, features).
``blank`` puts an image of the data set's mean colour there. Both count the damaged images, each
once however often it is met, and stop when there are more than ``data.max_errors``.
"""

import json
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from mixmask_solo.data.augmentations.randomness import mix
from mixmask_solo.data.locks import ThreadLock
from mixmask_solo.data.sources import ImageError, Source
from mixmask_solo.data.sources.base import printable, reason

_HASHED = 64
_NOTING = ThreadLock()


class Damaged(NamedTuple):
    """An image that cannot be read: where it lies, and what its decoder said."""

    name: str
    reason: str


class Tolerance:
    """What happens at a damaged image; one object a run, shared by all its processes.

    What a lock guards is lost with the worker that holds it. So all processes append lines to one
    file: short appends are atomic, and each process reads there what all have met. It is temporary
    unless :meth:`keep_in` gives it a place.

    ``mean`` (per channel, in [0, 1]) is the colour of a blank image, ``size`` its edge in pixels.
    """

    def __init__(
        self,
        on_error: str = "raise",
        max_errors: int = 100,
        *,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        size: int = 32,
    ) -> None:
        self.on_error = on_error
        self.max_errors = max_errors
        self.colour = tuple(round(255 * value) for value in mean)
        self.size = size
        self._met: dict[str, Damaged] = {}  # by this process; they count should the file vanish
        self._log: Path | None = None
        if on_error != "raise":
            handle, log = tempfile.mkstemp(prefix="mixmask-damaged-", suffix=".jsonl")
            os.close(handle)
            self._log = Path(log)
            weakref.finalize(self, _remove, self._log, os.getpid())

    def keep_in(self, log: Path) -> None:
        """Names the file that outlasts the process, made when the first damaged image is met.

        What an interrupted run met stands there already and counts.
        """
        if self._log is not None:
            met, self._log = self.damaged(), log
            for one in met:
                _append(log, one)

    def note(self, damage: Damaged, error: ImageError) -> None:
        """Counts an image that cannot be read; raises ``error`` under ``raise``.

        Raises:
            ImageError: also when there are more than ``max_errors``.
        """
        if self._log is None:
            raise error
        with _NOTING:  # other threads; processes need none
            if damage.name not in {known.name for known in self.damaged()}:
                self._met[damage.name] = damage
                _append(self._log, damage)
            count = len(self.damaged())  # after the append, so that the last one sees all
        if count > self.max_errors:
            raise ImageError(
                f"more than {self.max_errors} images cannot be read (data.max_errors), the last is "
                f"{damage.name}: {damage.reason}; mixmask-data check lists them all"
            ) from error

    def damaged(self) -> list[Damaged]:
        """All damaged images that any process has met so far, each once."""
        found: dict[str, Damaged] = {}
        text = self._log.read_text("ascii") if self._log and self._log.exists() else ""
        for line in text.split("\n")[:-1]:  # the rest is being written
            one = Damaged(*json.loads(line))
            found.setdefault(one.name, one)
        return list((found | self._met).values())

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


class Reader:
    """The images of one source as a run reads them, shared by all decoders and worker processes.

    A damaged one stops the run unless a tolerance is given; ``seed`` decides which image takes its
    place in training. ``unreadable``, (N,) bool in shared memory, are those that this run does not
    look at again. Threads may read at once.
    """

    def __init__(self, source: Source, tolerance: Tolerance | None = None, seed: int = 0) -> None:
        self.source = source
        self.tolerance = tolerance or Tolerance()
        self.seed = seed
        self.unreadable = torch.zeros(len(source), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.source)

    def read(self, index: int) -> Image.Image | None:
        """One image in RGB: a blank one where ``blank`` says so, None where ``skip`` does.

        Raises:
            ImageError: under ``raise``, or over the limit.
        """
        if not self.unreadable[index]:
            try:
                return self.source.image(index)
            except ImageError as error:
                self.failed(index, error)
        if self.tolerance.on_error == "skip":
            return None
        size = self.tolerance.size
        return Image.new("RGB", (size, size), self.tolerance.colour)

    def pick(self, index: int, epoch: int) -> tuple[int, Image.Image]:
        """An image for one place of a training batch: its index and its pixels in RGB.

        Raises:
            ImageError: as :meth:`read` does, or when no image at all can be read.
        """
        for candidate in self.candidates(index, epoch):
            image = self.read(candidate)
            if image is not None:
                return candidate, image
        raise ImageError(f"none of the {len(self)} images can be read")

    def candidates(self, index: int, epoch: int) -> Iterator[int]:
        """The image whose turn it is, then those that may take its place."""
        yield index
        yield from substitutes(len(self), index, seed=self.seed, epoch=epoch)

    def failed(self, index: int, error: ImageError) -> None:
        """Takes note of an image that cannot be read; raises as :meth:`Tolerance.note` does.

        It stays damaged for this run, unless it is the disk that failed, which may recover.
        """
        self.tolerance.note(damage_of(self.source, index, error), error)
        cause = error.__cause__
        if getattr(cause, "errno", None) is None and not isinstance(cause, MemoryError):
            self.unreadable[index] = True

    def present(self) -> Tensor:
        """(N,) bool: which images are not left out, as far as is known."""
        if self.tolerance.on_error == "blank":
            return torch.ones(len(self), dtype=torch.bool)
        return ~self.unreadable


def substitutes(size: int, index: int, *, seed: int, epoch: int) -> Iterator[int]:
    """Images that may take a damaged one's place: drawn ones, then all others in turn.

    A function of its arguments alone: every decoder, worker and resumed run chooses alike.
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


def _append(log: Path, one: Damaged) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab", buffering=0) as file:
        file.write((json.dumps(one) + "\n").encode("ascii"))


def _remove(log: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked worker's copy goes before the main process is done
        log.unlink(missing_ok=True)
