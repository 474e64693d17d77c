# SPDX-License-Identifier: MIT
"""Which of a folder's sub-folders are classes, in which order, and what the classes are called."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mixmask_solo.config.files import read_lines
from mixmask_solo.data.sources.base import Request
from mixmask_solo.data.sources.scan import Contents, hidden, walk

CLASSES_FILE = "classes.txt"
ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet's; its images all lie in ...
IMAGES = "images"

# of Tian et al. (CMC), as solo-learn, ADIOS and saliency-guided masking have it
IMAGENET100 = frozenset(read_lines(Path(__file__).with_name("imagenet100.txt")))

_EMPTY = "%-"  # the folder of the class whose name is empty
_UNFIT = re.compile("[/\0\ufeff\ud800-\udfff\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_ESCAPES = re.compile("(?:%[0-9A-F]{2})+")


def class_folders(root: Path, here: Contents, request: Request) -> dict[str, str]:
    """The class of each sub-folder that is one, in the order of the labels.

    That is the folders' sorted order, unless ``classes.txt`` lists these very folders in another.
    """
    found = here.folders
    if listed := listed_folders(root, found):
        return {name: _class_name(name) for name in listed}
    if IMAGES in found and len(found) > 1 and _left_behind(root):
        found = [name for name in found if name != IMAGES]
    if not found:
        hint = "; for images without labels set data.no_labels=true" if here.images else ""
        raise request.wrong(f"no class folder in it{hint}")
    if request.dataset == "imagenet100" and len(found) > len(IMAGENET100):
        if absent := sorted(IMAGENET100 - set(found)):
            raise request.wrong(
                f"{len(absent)} of ImageNet-100's classes are not there, {absent[0]} for one"
            )
        found = [name for name in found if name in IMAGENET100]
    return {name: name for name in found}


def listed_folders(root: Path, folders: Sequence[str]) -> list[str]:
    """The folders in the order of the ``classes.txt`` that names exactly them; else none."""
    if not folders or not (root / CLASSES_FILE).is_file():
        return []
    # as they stand there, too: a folder's name may begin or end with a blank
    both = (read_lines(root / CLASSES_FILE), listed_names(root))
    return next((names for names in both if sorted(names) == sorted(folders)), [])


def listed_names(folder: Path) -> list[str]:
    """The classes that ``classes.txt`` lists, one a line; none without such a file."""
    place = folder / CLASSES_FILE
    lines = read_lines(place) if place.is_file() else []
    return [line.strip() for line in lines if line.strip()]


def folder_name(name: str) -> str:
    """The folder of a class, unlike any other's: ``%2F`` stands for a slash.

    So it is with all that no folder can be called or no line of ``classes.txt`` can hold.
    """
    if not name:
        return _EMPTY
    if name == CLASSES_FILE:
        return _percent(name[0]) + name[1:]
    name = re.sub("%(?=[0-9A-F]{2}|-$)", "%25", name)
    return escaped(_UNFIT.sub(lambda found: _percent(found[0]), name), folder=True)


def escaped(part: str, *, folder: bool) -> str:
    """Part of a path, such that it is neither hidden nor leads upwards."""
    part = part.replace("\0", _percent("\0"))
    return _percent(part[0]) + part[1:] if hidden(part, folder=folder) else part


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(character))


def _class_name(folder: str) -> str:
    """The class that ``folder_name`` was given."""
    if folder == _EMPTY:
        return ""
    return _ESCAPES.sub(lambda run: os.fsdecode(bytes.fromhex(run[0].replace("%", ""))), folder)


def _left_behind(root: Path) -> bool:
    """Whether ``images`` is what remained when Tiny-ImageNet's val images were sorted."""
    annotated = (root / ANNOTATIONS).is_file()
    return annotated or not any(here.images for _, here in walk(root / IMAGES))
