# SPDX-License-Identifier: MIT
"""Pascal VOC's layout: ``ImageSets/Main/NAME.txt``, ``Annotations``, ``JPEGImages``.

Read as Detectron2 reads it: corners count from 1 and include their pixels, so 1 is taken off the
upper left one, and objects marked difficult are trained on.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mixmask_solo.config import ConfigError, did_you_mean, listing
from mixmask_solo.config.files import read_lines
from mixmask_solo.data.detection.annotations import (
    LARGEST,
    Annotated,
    Faults,
    far_outside,
    stored_size,
    without_empty_boxes,
)

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_FLAGS = ("-1", "0", "1")
_TRUTH = {"": False, "0": False, "false": False, "1": True, "true": True}
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    roots: Sequence[str], sets: Sequence[str], key: str, classes: Sequence[str] | None
) -> tuple[list[Annotated], list[str], Faults]:
    """The images of all ``sets`` in all ``roots``, their classes, what was passed over.

    Args:
        key: that of ``roots``, for messages.
        classes: in the order of the labels; None takes the names that occur, sorted.

    Raises:
        ConfigError: naming the file for a set or an annotation that is missing or malformed, and
            for an object of a class that is none of ``classes``.
    """
    faults, read = Faults(), []
    for root in roots:
        folder = Path(root).expanduser()
        for part in ("ImageSets/Main", "Annotations", "JPEGImages"):
            if not (folder / part).is_dir():
                raise ConfigError(
                    f"{key} is '{root}': it has no folder {part}; give a folder in Pascal VOC's "
                    "layout, as VOCdevkit/VOC2007"
                )
        names = dict.fromkeys(name for each in sets for name in _listed(folder, each, key))
        read += [(folder, name, _parsed(folder, name, faults)) for name in names]
    if not read:
        raise ConfigError(f"{key}: the sets {listing(sets, 'and')} list no image")
    found = {name for _, _, (_, objects) in read for name, _, _ in objects}
    known = sorted(found) if classes is None else list(classes)
    number = {name: i for i, name in enumerate(known, start=1)}
    images = []
    for folder, name, (size, objects) in read:
        for kind, _, _ in objects:
            if kind not in number:
                raise ConfigError(
                    f"{folder / 'Annotations' / name}.xml has an object of class {kind!r}"
                    f"{did_you_mean(kind, known)}: the classes are {listing(known, 'and')}; set "
                    "data.classes"
                )
        images.append(
            Annotated(
                file=str(folder / "JPEGImages" / f"{name}.jpg"),
                size=size,
                boxes=np.array([box for _, box, _ in objects], np.float32).reshape(-1, 4),
                labels=np.array([number[kind] for kind, _, _ in objects], np.int64),
                difficult=np.array([hard for _, _, hard in objects], bool),
                crowd=np.zeros(len(objects), bool),
            )
        )
    return images, known, faults


def _listed(folder: Path, name: str, key: str) -> list[str]:
    """The images of a set; a line may end in a flag, as in the files of one class.

    A name may have spaces: where the whole line is one of an annotation, it is no flag.
    """
    file = folder / "ImageSets" / "Main" / f"{name}.txt"
    if not file.is_file():
        there = sorted(p.stem for p in file.parent.glob("*.txt"))
        raise ConfigError(
            f"{key.replace('_path', '_sets')}: there is no set {name!r}"
            f"{did_you_mean(name, there)} in {file.parent}, only "
            f"{listing(there[:12], 'and') or 'nothing'}"
        )
    return [_named(folder, line.strip()) for line in read_lines(file) if line.strip()]


def _named(folder: Path, line: str) -> str:
    name, flag = line.rsplit(maxsplit=1) if " " in line or "\t" in line else (line, "")
    if flag not in _FLAGS or (folder / "Annotations" / f"{line}.xml").is_file():
        return line
    return name


Parsed = tuple[tuple[int, int], list[tuple[str, list[float], bool]]]


def _parsed(folder: Path, name: str, faults: Faults) -> Parsed:
    """The size of an image, and name, box and difficulty of its objects."""
    file = folder / "Annotations" / f"{name}.xml"
    try:
        tree = ElementTree.parse(file).getroot()
        if tree.tag.lower() != "annotation":
            raise ConfigError(f"{file} is no annotation of Pascal VOC's: its root is <{tree.tag}>")
        told = [float(tree.findtext(f"size/{edge}") or 0) for edge in ("width", "height")]
        if not all(0 <= edge <= LARGEST and edge == int(edge) for edge in told):
            raise ConfigError(f"{file}: a size of {told[0]:g}x{told[1]:g}; give whole numbers")
        size = (int(told[0]), int(told[1]))
        size = size if all(size) else stored_size(folder / "JPEGImages" / f"{name}.jpg")
        objects = []
        for node in tree.findall("object"):
            kind = (node.findtext("name") or "").strip()
            x1, y1, x2, y2 = (float(node.findtext(f"bndbox/{c}") or "nan") for c in _CORNERS)
            corners = (x1, y1, x2, y2)
            if not kind or not all(-LARGEST <= corner <= LARGEST for corner in corners):
                raise ConfigError(f"{file}: an object without a name or the corners of its box")
            if (far := far_outside(corners, size)) is not None:
                raise ConfigError(
                    f"{file}: {kind} has a corner at {far:g}, far outside of its image of "
                    f"{size[0]}x{size[1]}; give pixels of the image"
                )
            box = [x1 - 1, y1 - 1, x2, y2]
            inside = without_empty_boxes(np.array([box], np.float32), size)[0]
            if x2 <= x1 or y2 <= y1 or not inside:
                faults.boxes_without_extent += 1
                faults.name(f"{file}: {kind} {x1:g},{y1:g},{x2:g},{y2:g}")
                continue
            hard = (node.findtext("difficult") or "").strip().lower()
            if hard not in _TRUTH:
                raise ConfigError(f"{file}: {kind} has difficult {hard!r}; give 0 or 1")
            objects.append((kind, box, _TRUTH[hard]))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file, but its image is listed") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # of an encoding, that one
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{file} is no annotation of Pascal VOC's: {error}") from None
    return size, objects
