# SPDX-License-Identifier: MIT
"""Which images Pillow has found whole, and their sizes: looked at once, also across runs.

With ``dali.verify: false`` the sizes alone, within one run.
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock
from numpy.typing import NDArray

from mixmask_solo.config.files import replacing
from mixmask_solo.data.sources import Source

_FORMAT = "1"  # of the file, and of what `jpeg` lets pass
_ROW = np.dtype([("stamp", "<i8"), ("height", "<u2"), ("width", "<u2")])
_DIGEST = 16  # bytes, in front of the rows
_PATIENCE = 60  # seconds for others that write


class Verified:
    """A row for each image of a source, in memory that threads and worker processes share.

    It holds the stamp of the image's file when it was found whole, see :meth:`Source.stamps`, so
    that a file that has changed is not known. With a ``folder`` rows outlast the run.
    """

    def __init__(self, source: Source, folder: Path | None = None) -> None:
        self._rows = torch.zeros(len(source) * _ROW.itemsize, dtype=torch.uint8).share_memory_()
        self.file: Path | None = None
        if folder is not None:
            what = f"{_FORMAT} {PIL.__version__} {len(source)} ".encode() + source.identity()
            self.file = folder / f"{_digest(what).hex()}.whole"

    @property
    def rows(self) -> NDArray[np.void]:
        return self._rows.numpy().view(_ROW)

    def sizes(self, indexes: NDArray[np.int64], stamps: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 2) height and width of images that are known to be whole, zeros for the others."""
        rows = self.rows[indexes]
        sizes = np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)
        return np.where((rows["stamp"] == stamps)[:, None], sizes, 0)

    def add(self, index: int, stamp: int, size: tuple[int, int]) -> None:
        self.rows[index] = (stamp, *size)

    def share(self) -> None:
        """Exchanges with the file what each of the two knows.

        Where it is damaged, or cannot be read or written, images are looked at again, that is all.
        """
        if self.file is None or not self._exceeds(self.file):
            return
        with suppress(OSError, NotImplementedError):  # the latter: no locks on this file system
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self.file}.lock", timeout=_PATIENCE), replacing(self.file) as file:
                self._exceeds(self.file)  # others may have written since
                content = self.rows.tobytes()
                file.write_bytes(_digest(content) + content)

    def _exceeds(self, file: Path) -> bool:
        """Whether more is known than the file says; learns what it says."""
        rows, content = self.rows, b""
        with suppress(OSError):
            content = file.read_bytes()
        told = content[_DIGEST:]
        if len(told) != rows.nbytes or _digest(told) != content[:_DIGEST]:
            return bool(rows["stamp"].any())
        unknown = rows["stamp"] == 0
        rows[unknown] = np.frombuffer(told, _ROW)[unknown]
        return rows.tobytes() != told


def cache_folder(setting: str | None) -> Path | None:
    """Where ``dali.cache`` says that rows are kept; None for nowhere."""
    if setting is None or setting != "auto":
        return Path(setting).expanduser() if setting else None
    home = os.path.expanduser(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(home) / "mixmask_solo" if os.path.isabs(home) else None


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST).digest()
