# SPDX-License-Identifier: MIT
"""Which of a folder's sub-folders are classes, in which order, and what the classes are called."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from mixmask_solo.data.sources.files import read_lines
from mixmask_solo.data.sources.request import Request
from mixmask_solo.data.sources.scan import Contents, hidden, walk

CLASSES_FILE = "classes.txt"
ANNOTATIONS = "val_annotations.txt"  # Tiny-ImageNet's; its images all lie in ...
IMAGES = "images"

# of Tian et al. (CMC), as solo-learn, ADIOS and saliency-guided masking have it
_LIST = """
n01558993 n01692333 n01729322 n01735189 n01749939 n01773797 n01820546 n01855672 n01978455 n01980166
n01983481 n02009229 n02018207 n02085620 n02086240 n02086910 n02087046 n02089867 n02089973 n02090622
n02091831 n02093428 n02099849 n02100583 n02104029 n02105505 n02106550 n02107142 n02108089 n02109047
n02113799 n02113978 n02114855 n02116738 n02119022 n02123045 n02138441 n02172182 n02231487 n02259212
n02326432 n02396427 n02483362 n02488291 n02701002 n02788148 n02804414 n02859443 n02869837 n02877765
n02974003 n03017168 n03032252 n03062245 n03085013 n03259280 n03379051 n03424325 n03492542 n03494278
n03530642 n03584829 n03594734 n03637318 n03642806 n03764736 n03775546 n03777754 n03785016 n03787032
n03794056 n03837869 n03891251 n03903868 n03930630 n03947888 n04026417 n04067472 n04099969 n04111531
n04127249 n04136333 n04229816 n04238763 n04336792 n04418357 n04429376 n04435653 n04485082 n04493381
n04517823 n04589890 n04592741 n07714571 n07715103 n07753275 n07831146 n07836838 n13037406 n13040303
"""
IMAGENET100 = frozenset(_LIST.split())

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
