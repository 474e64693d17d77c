# SPDX-License-Identifier: MIT
"""Whether a folder holds classes, or the splits of a data set side by side."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.class_folders import CLASSES_FILE, IMAGES, listed_folders
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import look
from mixmask_solo.data.sources.split_words import is_split, split_word

__all__ = ["require_no_splits", "split_folder"]

_LIST = f"if these are classes, name the folders in a {CLASSES_FILE} beside them, one a line"


def split_folder(request: Request) -> Path:
    """The folder that holds one split's classes, or its images where there are no labels.

    The folders of splits lie side by side where there is none but them; beside others such a name
    is that of a class if it holds images itself. A list of the folders makes them classes.

    Raises:
        ConfigError: where this split is absent or there twice; where folders are named as splits
            and hold what splits do, but not they alone are there; where a folder's only folder
            holds the classes.
        OSError: for a folder that cannot be listed.
    """
    root = request.folder()
    folders = look(root).folders
    if listed_folders(root, folders):
        return root
    named = [name for name in folders if split_word(name)]
    if named and all(is_split(name) for name in folders):
        root = _side_by_side(root, named, request)
    else:
        _require_classes(root, named, len(named) < len(folders), request)
    if not request.no_labels:
        _require_unwrapped(root, request)
    return root


def require_no_splits(
    root: Path, paths: Iterable[str], empty: Iterable[str], request: Request
) -> None:
    """Refuses classes of which one holds the splits of a data set, or folders and no image.

    Args:
        root: the folder of the classes.
        paths: of their images, relative to it.
        empty: classes without images.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for folder in {os.path.dirname(path) for path in paths}:
        parts = folder.split(os.sep)
        for depth in range(1, len(parts)):
            if is_split(parts[depth]):
                found[os.path.join(*parts[:depth])].add(parts[depth])
    for place, names in sorted(found.items()):
        if _both(names):
            what = f"{place} holds the splits {', '.join(sorted(names))}, and would be a class"
            raise _give(root / place, sorted(names), what, request)
    for name in empty:
        if look(root / name).folders not in ([], [IMAGES]):
            raise request.wrong(
                f"{name} holds folders but no image, as no class does: move it away, or give the "
                f"folder of the classes alone; {_LIST}"
            )


def _side_by_side(root: Path, named: Sequence[str], request: Request) -> Path:
    if not request.no_labels and all(look(root / name).images for name in named):
        raise request.wrong(
            f"its folders ({', '.join(named)}) are named as splits and hold images themselves: "
            f"for images without labels set data.no_labels=true; {_LIST}"
        )
    for word in request.words:
        found = [name for name in named if split_word(name) == word]
        if len(found) > 1:
            both = " or ".join(f"'{root / name}'" for name in found)
            raise request.wrong(f"which is its {word} split? Instead give {both}")
        if found:
            return root / found[0]
    raise request.wrong(f"no folder of the {request.split} split in it")


def _require_classes(root: Path, named: list[str], others: bool, request: Request) -> None:
    """Of folders that are not splits alone, those named as splits hold images, as classes do."""
    whole = [name for name in named if is_split(name)]
    if not whole and not _both(named):
        return
    if others:
        named = [name for name in whole or named if not _as_class(root / name)]
    if named:
        beside = "beside others, without images of their own, " if others else ""
        what = f"{beside}folders named as splits ({', '.join(named)})"
        raise _give(root, named, what, request)


def _require_unwrapped(root: Path, request: Request) -> None:
    folders = look(root).folders
    if len(folders) != 1 or folders[0] in (request.classes or ()) or listed_folders(root, folders):
        return
    if not _as_class(root / folders[0]) and look(root / folders[0]).folders:
        what = f"{folders[0]}, the only folder in it, holds no images but folders"
        raise _give(root, folders, what, request)


def _give(place: Path, names: Sequence[str], what: str, request: Request) -> ConfigError:
    """Names the folder that holds this split's classes, below further folders of their own."""
    order = [name for word in request.words for name in names if split_word(name) == word]
    place /= (order or names)[0]
    while len(inner := look(place).folders) == 1 and look(place / inner[0]).folders:
        place /= inner[0]
    return request.wrong(f"{what}: give '{place}'; {_LIST}")


def _both(names: Iterable[str]) -> bool:
    words = {split_word(name) for name in names}
    return "train" in words and bool(words & {"val", "test"})


def _as_class(folder: Path) -> bool:
    below = folder / IMAGES  # Tiny-ImageNet's classes keep theirs there
    return any(place.is_dir() and look(place).images for place in (folder, below))
