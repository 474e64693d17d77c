# SPDX-License-Identifier: MIT
"""All splits of a data set, from a path alone or from a configuration."""

from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import data_block
from mixmask_solo.data.sources import Source, read
from mixmask_solo.data.sources.splits import split_words

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


def open_path(
    path: str | Path,
    *,
    no_labels: bool = False,
    storage: str = "auto",
    image_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, Source]:
    """The splits that lie at a path: ``train``, and ``val`` where it holds both.

    Args:
        path: a folder of classes, of splits, of Parquet files or of tar shards, one such file, a
            pattern of them, or a list of files.
        no_labels: this and all others are keys of the ``data`` block.

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
