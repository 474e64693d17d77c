# SPDX-License-Identifier: MIT
"""The entries of a COCO file, each value checked where it is read, and named where it is wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mixmask_solo.config import ConfigError
from mixmask_solo.data.detection.annotations import LARGEST, far_outside

_EDGES = ("width", "height")


class Entry(NamedTuple):
    """One of ``images``, ``annotations`` or ``categories``; its methods raise ConfigError."""

    told: Mapping[str, Any]
    kind: str  # as messages call it: image, annotation, category
    file: str
    position: int  # from 0, where it has no id

    def error(self, message: str) -> ConfigError:
        """To raise: names the entry, then ``message``, which begins with a verb."""
        own = self.told.get("id")
        name = f"number {self.position + 1} of its list" if own is None else repr(own)
        return ConfigError(f"{self.file}: {self.kind} {name} {message}")

    def required(self, key: str) -> Any:
        """The value, whatever it is."""
        if key not in self.told:
            raise self.error(f"has no {key}: give an annotation file in COCO's format")
        return self.told[key]

    def whole(self, key: str) -> int:
        """A whole number."""
        value = self.required(key)
        if not _finite(value) or value != int(value):
            raise self.error(f"has {key} {value!r}: give a whole number")
        return int(value)

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.required(key)
        if not isinstance(value, str) or not value:
            raise self.error(f"has {key} {value!r}: give a text")
        return value

    def size(self) -> tuple[int, int]:
        """Width and height; (0, 0) where the image does not tell them, or tells zero."""
        given = [self.told.get(key) for key in _EDGES]
        if not all(value is None or (_finite(value) and value >= 0) for value in given):
            raise self.error(f"has width {given[0]!r} and height {given[1]!r}: give whole numbers")
        width, height = (self.whole(key) if self.told.get(key) else 0 for key in _EDGES)
        return (width, height) if width and height else (0, 0)

    def box(self, size: tuple[int, int]) -> list[float]:
        """x, y, width, height, in an image of that width and height, or of unknown ones: (0, 0)."""
        value = self.required("bbox")
        if not isinstance(value, list) or len(value) != 4 or not all(map(_finite, value)):
            raise self.error(f"has bbox {value!r}: give four finite numbers, [x, y, width, height]")
        x, y, width, height = value
        self.refuse_far((x, y, x + width, y + height), size, "its bbox")
        return value

    def refuse_far(self, places: Sequence[float], size: tuple[int, int], what: str) -> None:
        """Raises where one of ``places`` lies far outside of an image of that size."""
        far = far_outside(places, size)
        if far is not None:
            raise self.error(
                f"has {far:g} in {what}, far outside of its image of {size[0]}x{size[1]}: give "
                "pixels of the image"
            )

    def area(self) -> float:
        """In pixels; that of the box where the file does not tell it."""
        value = self.told.get("area")
        if value is None:
            return float(self.told["bbox"][2] * self.told["bbox"][3])
        if not _finite(value) or value < 0:
            raise self.error(f"has area {value!r}: give a number of pixels")
        return float(value)

    def crowd(self) -> bool:
        """Whether it is a group of objects."""
        value = self.told.get("iscrowd")
        if value is None:
            return False
        if not _finite(value, true=True) or value not in (0, 1):
            raise self.error(f"has iscrowd {value!r}: give 0 or 1")
        return bool(value)


def entries(content: Mapping[str, Any], key: str, kind: str, file: str) -> list[Entry]:
    """The entries of a list, in order; ConfigError where it is none of objects."""
    found = content[key]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ConfigError(
            f"{file}: {key} is no list of objects, [{{...}}, ...]; give an annotation file in "
            "COCO's format"
        )
    return [Entry(one, kind, file, i) for i, one in enumerate(found)]


def require_once(found: Sequence[Entry], values: Sequence[Any], key: str) -> None:
    """Raises ConfigError where two entries have one value of ``key``."""
    try:
        counts = Counter(values)
    except TypeError:
        wrong = next(one for one, value in zip(found, values, strict=True) if _unhashable(value))
        raise wrong.error(f"has {key} {wrong.told[key]!r}: give a number or a text") from None
    if twice := [value for value, count in counts.items() if count > 1]:
        more = f", as are {len(twice) - 1} others" if len(twice) > 1 else ""
        raise ConfigError(
            f"{found[0].file}: the {found[0].kind} of {key} {twice[0]!r} is listed "
            f"{counts[twice[0]]} times{more}: give each once"
        )


def _finite(value: Any, *, true: bool = False) -> bool:
    """Whether this is a finite number; ``true``: whether true and false are."""
    if isinstance(value, bool):
        return true
    return isinstance(value, (int, float)) and -LARGEST <= value <= LARGEST  # not so of NaN


def _unhashable(value: Any) -> bool:
    return isinstance(value, (list, dict))
