# SPDX-License-Identifier: MIT
"""From a ``data`` block, or from a path alone, to sources."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import data_block, info
from mixmask_solo.data.sources.arrays import read_cifar, read_digits, read_stl10
from mixmask_solo.data.sources.base import Request, Source, Split, Subset
from mixmask_solo.data.sources.benchmarks import read_benchmark
from mixmask_solo.data.sources.file_list import read_file_list
from mixmask_solo.data.sources.folder import read_folder
from mixmask_solo.data.sources.parquet import read_parquet
from mixmask_solo.data.sources.splits import split_words
from mixmask_solo.data.sources.storage import TABLES, storage
from mixmask_solo.data.sources.webdataset import read_webdataset

READERS: dict[str, Callable[[Request], Source]] = {
    "digits": read_digits,
    "cifar": read_cifar,
    "stl10": read_stl10,
    "benchmark": read_benchmark,
    "folder": read_folder,
    "parquet": read_parquet,
    "webdataset": read_webdataset,
    "file_list": read_file_list,
}

# how ``mixmask-data`` calls what a block says
_AS_OPTIONS = {
    "data.train_path is": "the path is",
    "data.val_path is": "the path is",
    "data.storage is": "--storage is",
    "Set data.storage": "Set --storage (data.storage of a run)",
    "data.image_column": "--image-column",
    "data.label_column": "--label-column",
    "data.no_labels=true": "--no-labels",
    ", or say with data.num_classes how many there are": "",
}


def read(
    data: dict[str, Any], split: Split, *, classes: Sequence[str] | None = None
) -> Source | None:
    """Opens one split of a ``data`` block, or ``data.fraction`` of it.

    ``pretrain`` may hold unlabelled images. Labels of ``val`` are numbered by the training split's
    ``classes``; it is None without ``val_path`` (but the digits bring their own) or labels.

    Raises:
        ConfigError: one line on what is missing, and where.
    """
    request = _request(data, split, classes)
    kind = storage(data)
    absent = request.path is None and kind != "digits"
    if split == "val" and (absent or request.no_labels):
        return None
    for key in ("image_column", "label_column"):
        if kind not in TABLES and data.get(key) is not None:
            raise ConfigError(
                f"data.{key} is '{data[key]}', but data.train_path is '{data.get('train_path')}': "
                "only Parquet files and CSV lists have columns"
            )
    found = READERS[kind](request)
    known = info(request.dataset).num_classes
    top = int(found.labels.max())
    if known is not None and top >= known:
        raise request.wrong(f"label {top} in it, but {request.dataset} has {known} classes")
    fraction = data.get("fraction") if request.training else None
    return found if fraction is None else _take_fraction(found, float(fraction))


def source(cfg: Any, split: Split) -> Source | None:
    """Opens one split of a configuration as :func:`read` does, ``val`` with its classes found."""
    block = data_block(cfg)
    if split != "val" or block.get("val_path") is None or block.get("no_labels"):
        return read(block, split)
    train = read({**block, "fraction": None}, "train")
    return read(block, split, classes=(train.classes or None) if train else None)


def open_path(
    path: str | Path,
    *,
    no_labels: bool = False,
    storage: str = "auto",
    image_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, Source]:
    """The splits that lie at a path: ``train``, and ``val`` where it holds both.

    It is a folder of classes, of splits, of Parquet files or of tar shards, one such file, a
    pattern of them, or a list of files; all others are keys of the ``data`` block.

    Raises:
        ConfigError: one line on what is missing, and where.
    """
    block = {
        "dataset": "custom",
        "format": "dali",  # leaves it to ``storage``
        "storage": storage,
        "train_path": str(path),
        "val_path": str(path),
        "on_error": "skip",
        "no_labels": no_labels,
        "image_column": image_column,
        "label_column": label_column,
    }
    try:
        splits = _open(block, _names_validation(Path(path).expanduser()))
    except ConfigError as error:
        said = str(error)
        for key, option in _AS_OPTIONS.items():
            said = said.replace(key, option)
        raise ConfigError(said) from None
    if "val" in splits and splits["val"].name(0) == splits["train"].name(0):
        del splits["val"]
    return splits


def open_config(cfg: Any) -> dict[str, Source]:
    """The splits of a configuration's ``data`` block, whatever share of them it trains on.

    Raises:
        ConfigError: one line on what is missing, and where.
    """
    return _open({**data_block(cfg), "fraction": None, "on_error": "skip"}, True)


def _open(block: dict[str, Any], validation: bool) -> dict[str, Source]:
    train = read(block, "pretrain")
    assert train is not None, "only a val split may be absent"
    val = read(block, "val", classes=train.classes or None) if validation else None
    return {"train": train} if val is None else {"train": train, "val": val}


def _names_validation(path: Path) -> bool:
    places = [place for place in (path, path / "data") if place.is_dir()]
    named = [set(split_words(entry.name)) for place in places for entry in place.iterdir()]
    return any("train" in words for words in named) and any(words - {"train"} for words in named)


def _request(data: dict[str, Any], split: Split, classes: Sequence[str] | None = None) -> Request:
    own = "val_path" if split == "val" else "train_path"
    path = data.get(own)
    asked = {
        "split": split,
        "path": None if path is None else str(path),
        "key": f"data.{own}",
        "lenient": data.get("on_error") not in (None, "raise"),
        "classes": classes,
    }
    keys = (field.name for field in fields(Request))
    return Request(**{key: data[key] for key in keys if data.get(key) is not None} | asked)


def _take_fraction(source: Source, fraction: float) -> Source:
    """The share of a source that solo-learn takes for the same number; -1 and 1 take everything.

    It is scikit-learn's, stratified by label where there are labels, with random state 42.
    """
    if fraction in (-1, 1):
        return source
    from sklearn.model_selection import train_test_split

    labelled = np.flatnonzero(source.labels >= 0) if source.classes else np.arange(0)
    others = np.setdiff1d(np.arange(len(source)), labelled)
    groups: list[tuple[Any, Any]] = [(labelled, source.labels[labelled])] if len(labelled) else []
    if not groups or fraction * len(others) >= 1:
        groups.append((others, None))
    try:
        chosen = [
            train_test_split(group, train_size=fraction, stratify=labels, random_state=42)[0]
            for group, labels in groups
        ]
    except ValueError as error:
        raise ConfigError(f"data.fraction is {fraction}: {error}") from None
    return Subset(source, np.concatenate(chosen))
