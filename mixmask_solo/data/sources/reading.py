# SPDX-License-Identifier: MIT
"""From a ``data`` block to a source."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import data_block, info
from mixmask_solo.data.sources.arrays import read_cifar, read_digits, read_stl10
from mixmask_solo.data.sources.base import Source, Subset
from mixmask_solo.data.sources.file_list import read_file_list
from mixmask_solo.data.sources.folder import count_classes, read_folder
from mixmask_solo.data.sources.parquet import read_parquet
from mixmask_solo.data.sources.request import Request, Split
from mixmask_solo.data.sources.storage import TABLES, storage
from mixmask_solo.data.sources.webdataset import read_webdataset

READERS: dict[str, Callable[[Request], Source]] = {
    "digits": read_digits,
    "cifar": read_cifar,
    "stl10": read_stl10,
    "folder": read_folder,
    "parquet": read_parquet,
    "webdataset": read_webdataset,
    "file_list": read_file_list,
}

_AS_THEY_ARE = (
    *("dataset", "download", "no_labels", "root", "num_classes", "image_column", "label_column"),
)


def read(
    data: dict[str, Any], split: Split, *, classes: Sequence[str] | None = None
) -> Source | None:
    """Opens one split of a ``data`` block, or ``data.fraction`` of it.

    Args:
        data: the block as a plain dict.
        split: ``pretrain`` (may hold unlabelled images), ``train`` or ``val``.
        classes: the training split's, which number the labels of ``val``.

    Returns:
        The source; None for ``val`` without ``val_path`` (but the digits bring their own) or
        without labels.

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


def num_classes(cfg: Any) -> int:
    """The number of classes of a configuration's data set; 1 without labels.

    Raises:
        ConfigError: where the images decide and are not there.
    """
    block = data_block(cfg)
    known = info(block["dataset"]).num_classes
    if known is not None and not block.get("no_labels"):
        return known
    request, kind = _request(block, "train"), storage(block)
    return count_classes(request) if kind == "folder" else READERS[kind](request).num_classes


def _request(data: dict[str, Any], split: Split, classes: Sequence[str] | None = None) -> Request:
    own = "val_path" if split == "val" else "train_path"
    path = data.get(own)
    return Request(
        split=split,
        path=None if path is None else str(path),
        key=f"data.{own}",
        lenient=data.get("on_error") not in (None, "raise"),
        classes=classes,
        **{key: data[key] for key in _AS_THEY_ARE if data.get(key) is not None},
    )


def _take_fraction(source: Source, fraction: float) -> Source:
    """The share of a source that solo-learn takes for the same number; -1 and 1 take everything.

    It is scikit-learn's, stratified by label where there are labels, with random state 42.
    """
    if fraction in (-1, 1):
        return source
    if not 0 < fraction < 1:
        raise ConfigError(
            f"data.fraction is {fraction}: give a share above 0, at most 1, or -1 for all images"
        )
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
