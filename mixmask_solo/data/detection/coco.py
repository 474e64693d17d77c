# SPDX-License-Identifier: MIT
"""COCO's JSON: ``images``, ``annotations`` with boxes and masks, ``categories``."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.data.detection.annotations import Annotated, Faults, without_empty_boxes

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
    try:
        return _read(content, Path(folder).expanduser(), file, classes, masks)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{file} is no file of COCO's: an entry {what}") from None


def _content(file: Path, key: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(f"{key} is '{file}': no such file") from None
    except (OSError, ValueError) as error:
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
    categories = sorted(content["categories"], key=lambda c: int(c["id"]))
    names = [str(category["name"]) for category in categories]
    known = names if classes is None else list(classes)
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        raise ConfigError(
            f"{file} has the categories {listing(unknown or ['none'], 'and')}, which the training "
            "file does not have: set data.classes"
        )
    number = {int(c["id"]): known.index(str(c["name"])) + 1 for c in categories}
    faults, by_image = Faults(), defaultdict(list)
    for each in content["annotations"]:
        if int(each["category_id"]) not in number:
            raise ConfigError(
                f"{file}: annotation {each.get('id')} is of category {each['category_id']}, which "
                "is none of its categories"
            )
        if masks and not each.get("segmentation"):
            raise ConfigError(
                f"{file}: annotation {each.get('id')} has no segmentation, and detector.mask is "
                "true: set it to false, or give a file with masks"
            )
        by_image[each["image_id"]].append(each)
    _require_once(content["images"], file)
    unlisted = by_image.keys() - {image["id"] for image in content["images"]}
    if unlisted:
        raise ConfigError(f"{file}: an annotation is of image {min(unlisted)}, which is not listed")
    images = []
    for image in content["images"]:
        size = (int(image["width"]), int(image["height"]))
        found = by_image[image["id"]]
        corners = np.array([each["bbox"] for each in found], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]  # from x, y, width, height
        kept = without_empty_boxes(corners, size)
        if not kept.all():
            faults.boxes_without_extent += int((~kept).sum())
            faults.name(f"{image['file_name']}: annotation {found[int(np.argmin(kept))].get('id')}")
        if masks:
            kept &= _masked(found, size, file, str(image["file_name"]), faults)
        found = [each for each, keep in zip(found, kept.tolist(), strict=True) if keep]
        images.append(
            Annotated(
                file=str(folder / image["file_name"]),
                size=size,
                boxes=corners[kept],
                labels=np.array([number[int(each["category_id"])] for each in found], np.int64),
                difficult=np.zeros(len(found), bool),
                crowd=np.array([bool(each.get("iscrowd", 0)) for each in found], bool),
                segmentations=[each["segmentation"] for each in found] if masks else None,
                areas=np.array([_area(each) for each in found], np.float64),
            )
        )
    if not images:
        raise ConfigError(f"{file} lists no image")
    return images, known, faults


def _require_once(images: Sequence[dict[str, Any]], file: str) -> None:
    counts = Counter(image["id"] for image in images)
    if twice := [one for one, count in counts.items() if count > 1]:
        raise ConfigError(f"{file}: {len(twice)} images are listed twice, as that of id {twice[0]}")


def _masked(
    found: list[dict[str, Any]], size: tuple[int, int], file: str, image: str, faults: Faults
) -> NDArray[np.bool_]:
    """(n,) bool: which annotations have a mask; polygons that are none are taken out of theirs.

    Raises:
        ConfigError: for a mask that is neither polygons nor run lengths of the image's size.
    """
    kept = np.ones(len(found), bool)
    for i, each in enumerate(found):
        segmentation, what = each["segmentation"], f"{file}: annotation {each.get('id')}"
        if isinstance(segmentation, dict):
            _check_run_lengths(segmentation, size, what)
            continue
        if not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
            raise ConfigError(
                f"{what} has a segmentation that is neither a list of polygons, [[x, y, ...], ...]"
                ", nor run lengths"
            )
        each["segmentation"] = [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0]
        if not each["segmentation"]:
            kept[i] = False
            faults.masks_without_extent += 1
            faults.name(f"{image}: annotation {each.get('id')}")
    return kept


def _check_run_lengths(told: dict[str, Any], size: tuple[int, int], what: str) -> None:
    counts, own = told.get("counts"), told.get("size")
    if not isinstance(counts, (str, list)) or own != [size[1], size[0]]:
        raise ConfigError(
            f"{what} has run lengths of size {own}, its image is {size[0]}x{size[1]}: give counts "
            f"and size [{size[1]}, {size[0]}] (height, width)"
        )
    if isinstance(counts, list) and sum(counts) != size[0] * size[1]:
        raise ConfigError(
            f"{what} has run lengths of {sum(counts)} pixels, its image has {size[0] * size[1]}"
        )


def _area(each: dict[str, Any]) -> float:
    return float(each.get("area") or each["bbox"][2] * each["bbox"][3])


def run_lengths(segmentation: Any, size: tuple[int, int]) -> dict[str, Any]:
    """One object's polygons or run lengths as pycocotools' compressed run lengths.

    Args:
        segmentation: COCO's list of polygons ``[x, y, x, y, ...]``, or its dict of counts.
        size: width and height of the image.
    """
    from pycocotools import mask as masks

    width, height = size
    if isinstance(segmentation, list):
        return dict(masks.merge(masks.frPyObjects(segmentation, height, width)))
    if isinstance(segmentation["counts"], list):
        return dict(masks.frPyObjects(segmentation, height, width))
    return dict(segmentation)


def drawn(segmentation: Any, size: tuple[int, int], scale: tuple[float, float]) -> NDArray[Any]:
    """(height, width) uint8 of one object's mask, 1 inside, in an image that was resized.

    Polygons are resized as such; run lengths are drawn and then resized to the nearest pixel.

    Args:
        size: width and height after resizing.
        scale: these divided by those before.
    """
    from PIL import Image
    from pycocotools import mask as masks

    if isinstance(segmentation, list):
        moved = [(np.reshape(p, (-1, 2)) * scale).reshape(-1).tolist() for p in segmentation]
        found: NDArray[Any] = masks.decode(run_lengths(moved, size))
        return found
    before = (round(size[0] / scale[0]), round(size[1] / scale[1]))
    full = Image.fromarray(masks.decode(run_lengths(segmentation, before)))
    return np.asarray(full.resize(size, Image.Resampling.NEAREST))
