# SPDX-License-Identifier: MIT
"""COCO's JSON: ``images``, ``annotations`` with boxes and masks, ``categories``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.data.detection.annotations import (
    Annotated,
    Faults,
    stored_size,
    without_empty_boxes,
)
from mixmask_solo.data.detection.coco_entries import Entry, entries, require_once
from mixmask_solo.data.detection.coco_masks import checked_mask

_LISTS = ("images", "annotations", "categories")


def read_coco(
    file: str, folder: str, key: str, classes: Sequence[str] | None, *, masks: bool
) -> tuple[list[Annotated], list[str], Faults]:
    """The images of a file, their classes in the order of the categories' numbers, and faults.

    Args:
        folder: that the names of the images are relative to.
        key: that of ``file``, for messages.
        classes: of the training file, which number the labels; None takes the file's own.
        masks: whether each object needs a mask.

    Raises:
        ConfigError: naming the file, and what is missing in it or malformed.
    """
    content = _content(Path(file).expanduser(), key)
    if not Path(folder).expanduser().is_dir():
        name = key.replace("_path", "_images")
        raise ConfigError(f"{name} is '{folder}': no such folder; give that of the images")
    return _read(content, Path(folder).expanduser(), file, classes, masks)


def _content(file: Path, key: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{key} is '{file}': no such file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{key} is '{file}', which cannot be read as JSON: {error}") from None
    missing = [name for name in _LISTS if not isinstance(content, dict) or name not in content]
    if missing:
        raise ConfigError(
            f"{key} is '{file}': it has no list of {listing(missing, 'and')}; give an annotation "
            "file in COCO's format"
        )
    return dict(content)


def _read(
    content: dict[str, Any], folder: Path, file: str, classes: Sequence[str] | None, masks: bool
) -> tuple[list[Annotated], list[str], Faults]:
    number, known = _classes(entries(content, "categories", "category", file), file, classes)
    listed = entries(content, "images", "image", file)
    ids = [image.required("id") for image in listed]
    require_once(listed, ids, "id")
    if not listed:
        raise ConfigError(f"{file} lists no image")
    by_image: dict[Any, list[Entry]] = {one: [] for one in ids}
    for each in entries(content, "annotations", "annotation", file):
        if each.whole("category_id") not in number:
            raise each.error(
                f"is of category {each.told['category_id']}, which is none of its categories"
            )
        if masks and each.told.get("segmentation") is None:
            raise each.error(
                "has no segmentation, and detector.mask is true: set it to false, or give a file "
                "with masks"
            )
        of = each.required("image_id")
        if isinstance(of, (list, dict)) or of not in by_image:
            raise each.error(f"is of image {of!r}, which is not listed: give the id of an image")
        by_image[of].append(each)
    faults = Faults()
    images = [
        _image(image, by_image[one], folder, number, masks, faults)
        for image, one in zip(listed, ids, strict=True)
    ]
    return images, known, faults


def _classes(
    categories: list[Entry], file: str, classes: Sequence[str] | None
) -> tuple[dict[int, int], list[str]]:
    """Labels by the categories' numbers, and the classes that they count from 1."""
    ids = [one.whole("id") for one in categories]
    require_once(categories, ids, "id")
    name = dict(zip(ids, (one.text("name") for one in categories), strict=True))
    require_once(categories, [*name.values()], "name")
    known = [name[one] for one in sorted(name)] if classes is None else list(classes)
    unknown = [name[one] for one in sorted(name) if name[one] not in known]
    if unknown or not known:
        raise ConfigError(
            f"{file} has the categories {listing(unknown or ['none'], 'and')}, none of the classes "
            f"that are trained on, {listing(known, 'and') or 'none'}: set data.classes to all of "
            "both files"
        )
    return {one: known.index(name[one]) + 1 for one in ids}, known


def _image(
    image: Entry,
    found: list[Entry],
    folder: Path,
    number: dict[int, int],
    masks: bool,
    faults: Faults,
) -> Annotated:
    name = image.text("file_name")
    size = image.size()
    if size == (0, 0):
        size = stored_size(folder / name)
    if size == (0, 0) and masks:
        raise image.error(
            f"tells no size, and '{folder / name}', whose masks need one, cannot be read: give its "
            "width and height"
        )
    corners = np.array([each.box(size) for each in found], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]  # from x, y, width, height
    kept = without_empty_boxes(corners, size)
    if not kept.all():
        faults.boxes_without_extent += int((~kept).sum())
        faults.name(f"{name}: annotation {found[int(np.argmin(kept))].told.get('id')}")
    drawable = [checked_mask(each, size) if masks else None for each in found]
    for i, each in enumerate(found):
        if masks and kept[i] and drawable[i] is None:
            kept[i] = False
            faults.masks_without_extent += 1
            faults.name(f"{name}: annotation {each.told.get('id')}")
    chosen = np.flatnonzero(kept).tolist()
    return Annotated(
        file=str(folder / name),
        size=size,
        boxes=corners[kept],
        labels=np.array([number[found[i].whole("category_id")] for i in chosen], np.int64),
        difficult=np.zeros(len(chosen), bool),
        crowd=np.array([found[i].crowd() for i in chosen], bool),
        segmentations=[drawable[i] for i in chosen] if masks else None,
        areas=np.array([found[i].area() for i in chosen], np.float64),
    )
