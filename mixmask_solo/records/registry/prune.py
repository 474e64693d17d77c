# SPDX-License-Identifier: MIT
"""Removes runs, or their older checkpoints, and nothing else."""

import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import LAST, RESULT, read_run
from mixmask_solo.records.registry.row import Row

_HIDDEN = re.compile(r"\..+\.[0-9a-f]{32}\.pruned")  # a folder that is being removed


def size(folder: Path) -> int:
    """Bytes of all files below a folder; what links lead to is not counted."""
    total = 0
    for place, _, files in os.walk(folder):
        total += sum(_size(Path(place, name)) for name in files)
    return total


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, the one it goes on from last."""
    found = [p for p in folder.glob("*.ckpt") if stat.S_ISREG(p.lstat().st_mode)]
    return sorted(found, key=lambda p: (p.name == LAST, p.stat().st_mtime_ns, p.name))


def spare_checkpoints(folder: Path) -> list[Path]:
    """All but ``last.ckpt``, or the newest where there is none."""
    return checkpoints(folder)[:-1]


def remove_checkpoints(row: Row, roots: Sequence[Path]) -> int:
    """Removes the spare checkpoints of a run below one of ``roots``.

    Returns the bytes that are free now.

    Raises:
        ConfigError: where the run has gone on, or its folder is not its own.
    """
    with _held(row, roots) as folder:
        found = spare_checkpoints(folder)
        free = sum(map(_size, found))
        for file in found:
            file.unlink()
    return free


def remove_run(row: Row, roots: Sequence[Path]) -> int:
    """Removes a run below one of ``roots``, and it is gone at once.

    The folder gets a hidden name first, so that no half of a run is ever found. What an earlier
    removal that was interrupted left beside it goes, too. Returns the bytes that are free now.

    Raises:
        ConfigError: where the run has gone on, or its folder is not its own.
    """
    with _held(row, roots) as folder:
        if inner := _run_below(folder):
            raise ConfigError(f"{folder} is left alone: another run lies in it, {inner}")
        free = size(folder)
        folder.rename(folder.with_name(f".{folder.name}.{uuid4().hex}.pruned"))
    for left in folder.parent.iterdir():
        if _HIDDEN.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
    return free


@contextmanager
def _held(row: Row, roots: Sequence[Path]) -> Iterator[Path]:
    """Keeps a run's folder from a process that would write there, as that does from others."""
    folder = row.folder
    below = any(root.resolve() in folder.resolve().parents for root in roots)
    if folder.is_symlink() or not below:
        raise ConfigError(f"{folder} is left alone: give a folder that it lies in, and no link")
    if not (folder / RESULT).is_file():
        raise ConfigError(f"{folder} is left alone: it holds no {RESULT} any more")
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(f"{folder} is left alone: a process is writing there") from None
    try:
        run = read_run(folder)
        if run.state() == "running" or run.result.get("heartbeat") != row.get("heartbeat"):
            raise ConfigError(f"{folder} is left alone: it is running, or has gone on meanwhile")
        yield folder
    finally:
        lock.release()


def _run_below(folder: Path) -> Path | None:
    """A run in a run's folder, where ``scan`` does not look; not one that is being removed."""
    for place, inner, files in os.walk(folder):
        if RESULT in files and Path(place) != folder:
            return Path(place)
        inner[:] = [name for name in inner if not _HIDDEN.fullmatch(name)]
    return None


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except OSError:
        return 0
