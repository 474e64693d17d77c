# SPDX-License-Identifier: MIT
"""The words by which splits go, and whether a folder holds classes or splits side by side."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from mixmask_solo.config import ConfigError
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.class_folders import CLASSES_FILE, IMAGES, listed_folders
from mixmask_solo.data.sources.scan import look

_LIST = f"if these are classes, name the folders in a {CLASSES_FILE} beside them, one a line"
_WORDS = {
    **dict.fromkeys(("train", "training", "trainset", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "valset", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "testset", "eval", "evaluation"), "test"),
}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")  # imagenet_train-0, cifar10Train, TEST.tar


def split_words(name: str) -> list[str]:
    """Of ``train``, ``val`` and ``test`` those that whole words of a name stand for, any case."""
    words = (word.lower() for word in _WORD.findall(name))
    return list(dict.fromkeys(_WORDS[word] for word in words if word in _WORDS))


def split_word(name: str) -> str | None:
    """The first of them."""
    return next(iter(split_words(name)), None)


def _is_split(name: str) -> bool:
    return name.lower() in _WORDS


def stem(name: str) -> str:
    """What the shards of one set have in common: a name up to the number behind the split's word.

    Numbers before that word count by their length alone.
    """
    last = max((w.end() for w in _WORD.finditer(name) if w[0].lower() in _WORDS), default=0)
    head = re.sub(r"\d", "0", name[:last])
    return (head + re.split(r"\d", name[last:], maxsplit=1)[0]).lower()


def split_folder(request: Request) -> Path:
    """The folder that holds one split's classes, or its images where there are no labels.

    The folders of splits lie side by side where there is none but them; beside others such a name
    is that of a class if it holds images itself. A list of the folders makes them classes.
    """
    root = request.folder()
    folders = look(root).folders
    if listed_folders(root, folders):
        return root
    named = [name for name in folders if split_word(name)]
    if named and all(_is_split(name) for name in folders):
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

    Below ``root`` lie the images at ``paths``, and the classes ``empty`` without any.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for folder in {os.path.dirname(path) for path in paths}:
        parts = folder.split(os.sep)
        for depth in range(1, len(parts)):
            if _is_split(parts[depth]):
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
    whole = [name for name in named if _is_split(name)]
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
