# SPDX-License-Identifier: MIT
"""From what a table, a list or a shard says of its images to numbers of classes: one rule for all.

Whole numbers are the classes' own; -1, null, NaN and empty text say that an image has none. Text
that is a number in every row is one, even where a class has that very number for a name; other
text is numbered by the sorted names, or by those of the classes that are known. False is 0 and
True is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import info
from mixmask_solo.config.errors import did_you_mean
from mixmask_solo.data.sources.base import Labels, printable
from mixmask_solo.data.sources.request import Request

__all__ = ["UNLABELLED", "Where", "numbered", "refused", "whole"]

UNLABELLED = -1
Where = Callable[[int], str]

_BOOLEANS = ["False", "True"]


def numbered(
    found: Labels | Sequence[str], where: Where, request: Request, names: Sequence[str] = ()
) -> tuple[Labels, list[str]]:
    """Labels and classes of a split.

    Args:
        found: (N,) int64 with -1 for none, or (N,) texts.
        where: from a row to the file and the row in it, for messages.
        request: knows the training split's classes.
        names: the classes, where the storage lists them.

    Returns:
        (N,) int64 with -1 for none; names in the order of the labels: numbers as names where
        nobody gives any, nothing where no image is labelled.

    Raises:
        ConfigError: for a label that is none, or is beyond the classes; the line names its row.
    """
    known = list(request.classes or names)
    if isinstance(found, np.ndarray):
        labels = found
        _require_same(names, request)
        _require_low(labels, where)
        _require_fit(labels, where, *_bound(known, len(found), request))
    else:
        labels, known = _from_texts(found, where, request, known, names)
    return labels, known or [str(label) for label in range(int(labels.max(initial=-1)) + 1)]


def whole(value: float) -> int | None:
    """A number as an integer, -1 for NaN; None where it has a fraction or no end."""
    if math.isnan(value):
        return UNLABELLED
    return int(value) if math.isfinite(value) and value == int(value) else None


def refused(where: str, label: object, problem: str) -> ConfigError:
    """The line about one label."""
    return ConfigError(f"{where} has label {printable(str(label))}, {problem}")


def _bound(known: Sequence[str], images: int, request: Request) -> tuple[int, str]:
    """Labels are below this number, and why."""
    if known:
        return len(known), f"but there are only {len(known)} classes, 0 to {len(known) - 1}"
    count = info(request.dataset).num_classes
    if count is not None:
        return count, f"but {request.dataset} has {count} classes, 0 to {count - 1}"
    bound = max(images, request.num_classes or 0)
    return bound, (
        f"but there are only {bound} images: number the classes from 0, or say with "
        "data.num_classes how many there are"
    )


def _require_low(labels: Labels, where: Where) -> None:
    below = np.flatnonzero(labels < UNLABELLED)
    if len(below):
        row = int(below[0])
        raise refused(where(row), labels[row], "give numbers from 0, or -1 for none")


def _require_fit(labels: Labels, where: Where, bound: int, problem: str) -> None:
    above = np.flatnonzero(labels >= bound)
    if len(above):
        row = int(above[0])
        raise refused(where(row), labels[row], problem)


def _require_same(names: Sequence[str], request: Request) -> None:
    """Numbers mean the classes that stand beside them."""
    if request.classes and names and list(names) != list(request.classes):
        raise request.wrong("its classes are not those of the training images, or in another order")


def _from_texts(
    texts: Sequence[str], where: Where, request: Request, known: list[str], names: Sequence[str]
) -> tuple[Labels, list[str]]:
    none = {text for text in set(texts) if not text or _is_none(_number(text))}
    distinct = [text for text in dict.fromkeys(texts) if text not in none]
    numbers = [text for text in distinct if _number(text) is not None]
    boolean = {text.lower() for text in distinct} <= {"false", "true"}
    if distinct and boolean and known in ([], _BOOLEANS):
        known = _BOOLEANS
        label = {text: int(text.lower() == "true") for text in distinct}
    elif len(numbers) < len(distinct):
        if numbers:  # would be names themselves, which nobody means
            problem = "but others are names: give numbers from 0 everywhere, or names"
            raise refused(where(texts.index(numbers[0])), repr(numbers[0]), problem)
        known = known or sorted(distinct)
        label = _places(texts, distinct, known, where)
    else:
        if distinct:
            _require_same(names, request)
        label = {text: _whole(text, where(texts.index(text))) for text in distinct}
    bound, problem = _bound(known, len(texts), request)
    for text in distinct:  # before they become numbers of 64 bits, which hold no more
        if label[text] >= bound:
            raise refused(where(texts.index(text)), text, problem)
    label |= dict.fromkeys(none, UNLABELLED)
    return np.array([label[text] for text in texts], dtype=np.int64), known


def _is_none(number: float | None) -> bool:
    return number is not None and whole(number) == UNLABELLED


def _number(text: str) -> float | None:
    """The number that a text is; None for a name."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _places(
    texts: Sequence[str], distinct: Sequence[str], known: Sequence[str], where: Where
) -> dict[str, int]:
    place = {name: number for number, name in enumerate(known)}
    odd = next((text for text in distinct if text not in place), None)
    if odd is not None:
        problem = f"which is none of the {len(known)} known classes{did_you_mean(odd, known)}"
        raise refused(where(texts.index(odd)), repr(odd), problem)
    return {text: place[text] for text in distinct}


def _whole(text: str, row: str) -> int:
    value = whole(float(text))
    if value is None:
        raise refused(row, text, "which is no whole number")
    if value < UNLABELLED:
        raise refused(row, text, "give numbers from 0, or -1 for none")
    return value
