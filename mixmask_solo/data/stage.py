# SPDX-License-Identifier: MIT
"""Images on a disk of this machine: copied once, verified, shared by all who want the same."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock
from rich.filesize import decimal

from mixmask_solo.config import ConfigError

_KEY = "data.stage_to"
_COPIES = 8  # files at once: small ones wait for the network more than they use it
_CHUNK = 8 << 20  # bytes
_SPARE = 64 << 20  # bytes that are left free


def staged(block: dict[str, Any]) -> dict[str, Any]:
    """The ``data`` block with its paths under ``stage_to``; as it is where there is none.

    What two processes of a machine want at the same time the first one copies, and the others
    wait. A copy is known by its source's path and the names, sizes and times of all files; it
    stays for the next job.

    Raises:
        ConfigError: where a path is missing, the disk is too small or a copy differs from its
            source.
    """
    if not block.get("stage_to"):
        return block
    place = _place(str(block["stage_to"]))
    moved = dict(block)
    root = block.get("root")
    if root:
        moved["root"] = str(_copied(Path(root), place))
    for key in ("train_path", "val_path"):
        if not block.get(key):
            continue
        path = Path(block[key]).expanduser().absolute()
        if not path.exists():
            continue  # whoever reads it says what is wrong
        is_list = path.suffix in (".txt", ".csv") and not root  # its images lie beside it
        new = _copied(path.parent, place) / path.name if is_list else _copied(path, place)
        moved[key] = str(new)
    return moved


def _place(text: str) -> Path:
    expanded = os.path.expandvars(os.path.expanduser(text))
    if "$" in expanded:
        raise ConfigError(
            f"{_KEY} is {text!r}: there is no such variable on this machine; give a folder on its "
            "own disk"
        )
    place = Path(expanded).absolute()
    place.mkdir(parents=True, exist_ok=True)
    return place


def _copied(source: Path, place: Path) -> Path:
    """The copy of a file or folder, made if there is none."""
    source = source.expanduser().resolve()
    if not source.exists():
        raise ConfigError(f"'{source}' is to be copied to {_KEY}, but it is not there")
    if source == place or source in place.parents:
        raise ConfigError(
            f"{_KEY} '{place}' lies in '{source}', which is to be copied there: give another folder"
        )
    files = sorted(_files(source))
    told = "\n".join(f"{name}\0{size}\0{when}" for name, size, when in files)
    digest = hashlib.blake2b(f"{source}\0{told}".encode("utf-8", "surrogateescape"), digest_size=8)
    home = place / digest.hexdigest()
    # names tell splits and kinds of files, and with the folder's an image from another
    copy = home / source.parent.name / source.name
    with FileLock(place / f".{home.name}.lock"):
        if home.is_dir():
            if [file[:2] for file in sorted(_files(copy))] == [file[:2] for file in files]:
                return copy
            shutil.rmtree(home)  # something was removed from it
        for left in place.glob(f".{home.name}.*.tmp"):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        _require_room(place, source, sum(size for _, size, _ in files))
        temporary = place / f".{home.name}.{uuid4().hex}.tmp"
        try:
            names = [name for name, _, _ in files]
            _copy_all(source, temporary / source.parent.name / source.name, names)
            os.replace(temporary, home)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return copy


def _files(source: Path) -> Iterator[tuple[str, int, int]]:
    """Name below ``source``, size and time of each file; those that links lead to count."""
    if not source.is_dir():
        info = source.stat()
        yield "", info.st_size, info.st_mtime_ns
        return
    for folder, _, names in os.walk(source, followlinks=True):
        for name in names:
            path = Path(folder, name)
            try:
                info = path.stat()
            except OSError as error:
                raise ConfigError(
                    f"'{path}' cannot be copied to {_KEY}: {error.strerror}"
                ) from None
            yield str(path.relative_to(source)), info.st_size, info.st_mtime_ns


def _require_room(place: Path, source: Path, need: int) -> None:
    free = shutil.disk_usage(place).free
    if need + _SPARE > free:
        raise ConfigError(
            f"{_KEY} is '{place}': {decimal(free)} are free there, '{source}' takes "
            f"{decimal(need)}; give a larger disk, delete what lies there, or remove the key"
        )


def _copy_all(source: Path, target: Path, names: list[str]) -> None:
    (target if source.is_dir() else target.parent).mkdir(parents=True)
    with ThreadPoolExecutor(_COPIES) as pool:
        done = pool.map(lambda name: _copy(source / name, target / name), names)
        for _ in done:
            pass


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b()
    with source.open("rb") as given, target.open("wb") as made:
        while chunk := given.read(_CHUNK):
            digest.update(chunk)
            made.write(chunk)
    shutil.copystat(source, target)
    if _digest(target) != digest.digest():
        raise ConfigError(
            f"{_KEY}: '{target}' is not what was read from '{source}'; check the disk"
        )


def _digest(file: Path) -> bytes:
    digest = hashlib.blake2b()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()
