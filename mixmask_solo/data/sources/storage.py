# SPDX-License-Identifier: MIT
"""How images are stored: what ``data.format`` and ``data.storage`` say, else what lies there."""

import glob
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError, listing, require_known
from mixmask_solo.config.datasets import info
from mixmask_solo.data.sources.file_list import LIST_SUFFIXES
from mixmask_solo.data.sources.scan import look, walk
from mixmask_solo.data.sources.shards import expand, files_in
from mixmask_solo.data.sources.splits import split_words

STORAGES = ("image_folder", "parquet", "webdataset", "file_list")
TABLES = ("parquet", "file_list")  # with columns, which the block may name
DECODERS = ("dali", "resident")

_SHARDS = {".parquet": "parquet", ".tar": "webdataset"}
_FILES = _SHARDS | dict.fromkeys(LIST_SUFFIXES, "file_list")
_OWN = ("cifar-10-batches-py", "cifar-100-python", "stl10_binary")  # torchvision's folders


def storage(data: dict[str, Any]) -> str:
    """The reader's name: one of ``STORAGES``, or the kind of a data set that has its own files.

    ``data.format`` decides where it names a storage. Where it names a decoder, ``data.storage``
    does, or with ``auto`` what lies at ``data.train_path``.

    Raises:
        ConfigError: for an unknown or contradictory setting.
    """
    form = data.get("format") or "image_folder"
    stored = data.get("storage") or "auto"
    require_known("data.format", form, (*STORAGES, *DECODERS))
    require_known("data.storage", stored, ("auto", *STORAGES))
    kind = info(data.get("dataset", "???")).kind
    if kind == "digits":
        return kind
    if form not in DECODERS:
        if stored not in ("auto", form):
            raise ConfigError(
                f"data.storage is {stored!r} and data.format {form!r}: leave data.storage out, "
                f"or choose a decoder ({listing(DECODERS)}) as data.format"
            )
        stored = form
    elif stored == "auto":
        stored = _lies_there(data, kind) or ("parquet" if kind == "parquet" else "image_folder")
    # image folders are the files that the data set itself is kept in
    return kind if stored == "image_folder" else stored


def has_columns(data: dict[str, Any]) -> bool:
    """Whether the images stand in a table, of which ``data`` may name the columns."""
    return data.get("dataset") is not None and storage(data) in TABLES


def _lies_there(data: dict[str, Any], kind: str) -> str | None:
    """What the names at a path tell; None for folders of images and for nothing at all."""
    path = data.get("train_path")
    if path is None:
        return None
    given = Path(str(path)).expanduser()
    if not given.is_dir():
        first = expand(str(given))[0]
        suffixes = [Path(name).suffix.lower() for name in (first, *glob.glob(first)[:1])]
        return next((_FILES[suffix] for suffix in suffixes if suffix in _FILES), None)
    found = {}
    for suffix, stored in _SHARDS.items():
        train = (place for place in sorted(given.glob("*/")) if "train" in split_words(place.name))
        places = (given, given / "data", *train)
        shard = next((file for place in places for file in files_in(place, suffix)), None)
        if shard is not None:
            found[stored] = shard
    beside = _other_images(given, data, kind) if found else None
    if beside is not None:
        found["image_folder"] = beside
    if len(found) > 1:
        files = " beside ".join(f"'{place.relative_to(given)}'" for place in found.values())
        raise ConfigError(
            f"data.train_path is '{given}': {files}, which of them is the data set? "
            f"Set data.storage to {listing(found)}, or give the path of one alone"
        )
    return next(iter(found), None)


def _other_images(given: Path, data: dict[str, Any], kind: str) -> Path | None:
    """A folder that holds images, or is torchvision's; without labels any image."""
    here = look(given)
    for name in here.folders:
        own = name in _OWN and kind in ("cifar", "stl10")
        if own or any(below.images for _, below in walk(given / name)):
            return given / name
    return given / here.images[0] if here.images and data.get("no_labels") else None
