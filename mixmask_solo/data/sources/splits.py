# SPDX-License-Identifier: MIT
"""Whether a folder holds classes, or the splits of a data set side by side."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import is_image, look

__all__ = ["SPLITS", "split_folder"]

_log = logging.getLogger(__name__)

_TRAIN, _VAL = ("train",), ("val", "validation", "valid", "test")
SPLITS = frozenset((*_TRAIN, *_VAL))


def split_folder(request: Request) -> Path:
    """The folder that holds one split's classes, or its images where there are no labels.

    The folders of splits lie side by side where there is none but them; ``train`` beside others is
    a class. With labels they are classes too where every one of them holds images itself.

    Raises:
        ConfigError: where this split is absent; where folders stand beside a ``train`` that holds
            folders as a split does, and they do not; for a folder that cannot be listed.
    """
    root = request.folder()
    try:
        folders = look(root).folders
        named = [name for name in folders if name in SPLITS]
        if not named:
            return root
        beside = [name for name in folders if name not in SPLITS]
        if beside:
            _require_alike(root, beside, request)
            return root
        if not request.no_labels and all(_holds_images(root / name) for name in named):
            _log.warning(
                "%s is '%s': its folders (%s) hold images themselves, so they are classes; for "
                "images without labels set data.no_labels=true",
                *(request.key, request.path, ", ".join(named)),
            )
            return root
    except OSError as error:
        raise request.unlisted(error) from None
    names = _TRAIN if request.training else _VAL
    found = next((name for name in names if name in named), None)
    if found is None:
        raise request.wrong(f"no folder of the {request.split} split in it")
    return root / found


def _require_alike(root: Path, beside: list[str], request: Request) -> None:
    """Of classes one does not hold folders alone where another holds images."""
    train = root / "train"
    if not train.is_dir() or _holds_images(train) or not look(train).folders:
        return
    for name in beside:
        if _holds_images(root / name) or not look(root / name).folders:
            raise request.wrong(
                f"{name!r} stands beside the folder train, which holds folders as a split does: "
                f"give '{train}', or move {name!r} away"
            )


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(is_image(entry.name) for entry in entries)
