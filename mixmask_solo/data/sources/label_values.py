# SPDX-License-Identifier: MIT
"""From what a table, a list or a shard says of its images to numbers of classes: one rule for all.

Whole numbers are the classes' own; -1, NaN and empty text say that an image has none. Text that is
a number in every row is one, even where a class has that very number for a name; other text is
numbered by the sorted names, or by those of the classes that are known. False is 0 and True is 1.
"""

import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from mixmask_solo.config import ConfigError, did_you_mean
from mixmask_solo.config.datasets import info
from mixmask_solo.data.sources.base import UNLABELLED, Labels, Request, printable

Where = Callable[[int], str]  # from a row to the file and the row in it, for messages
Refuse = Callable[[str, str, str], ConfigError]  # a text, how it is shown, what is wrong with it

_BOOLEANS = ["False", "True"]
_TEXTS = ("string", "large_string", "string_view", "binary", "large_binary")
_SAID = {"bool": "booleans"} | dict.fromkeys(_TEXTS, "texts")


def label_texts(column: Any, where: Where) -> tuple[str, list[str]]:
    """What an Arrow column says of the images: a kind, empty where it says nothing, and texts."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return label_texts(column.cast(kind.value_type), where)
    if column.null_count == len(column):
        return "", [""] * len(column)
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    said = _SAID.get(str(kind)) or ("numbers" if any(are(kind) for are in numbers) else None)
    if said is None:
        raise ConfigError(f"{where(0)} has a label of type {kind}: give whole numbers or names")
    values = column.to_pylist()
    text = {value: _text(value) for value in set(values)}
    return said, [text[value] for value in values]


def numbered(
    texts: Sequence[str], where: Where, request: Request, names: Sequence[str] = ()
) -> tuple[Labels, list[str]]:
    """Labels, (N,) int64 with -1 for none, and classes in their order, of a split.

    ``texts`` (N,) say what each image is. The classes are those of the training split, else
    ``names``, which the storage lists; where nobody gives any they are called by their numbers.
    """
    known = list(request.classes or names)
    number = {text: _number(text) for text in dict.fromkeys(texts)}
    given = [text for text, value in number.items() if value is None or _whole(value) != UNLABELLED]
    called = [text for text in given if number[text] is None]

    def refuse(text: str, shown: str, problem: str) -> ConfigError:
        return ConfigError(f"{where(texts.index(text))} has label {printable(shown)}, {problem}")

    if called and len(called) < len(given):  # would be names themselves, which nobody means
        text = next(text for text in given if number[text] is not None)
        problem = "but others are names: give numbers from 0 everywhere, or names"
        raise refuse(text, repr(text), problem)
    if called:
        label, known = _of_names(called, known, refuse)
    else:
        if any(texts) and request.classes and names and known != list(names):
            problem = "its classes are not those of the training images, or in another order"
            raise request.wrong(problem)  # a number means the class that stands beside it
        label = _of_numbers(given, *_bound(known, len(texts), request), refuse)
    labels = np.array([label.get(text, UNLABELLED) for text in texts], dtype=np.int64)
    return labels, known or [str(label) for label in range(int(labels.max(initial=-1)) + 1)]


def _of_names(
    names: list[str], known: list[str], refuse: Refuse
) -> tuple[dict[str, int], list[str]]:
    if known in ([], _BOOLEANS) and {name.lower() for name in names} <= {"false", "true"}:
        return {name: int(name.lower() == "true") for name in names}, _BOOLEANS
    known = known or sorted(names)
    place = {name: label for label, name in enumerate(known)}
    for name in names:
        if name not in place:
            near = did_you_mean(name, known)
            raise refuse(name, repr(name), f"which is none of the {len(known)} known classes{near}")
    return {name: place[name] for name in names}, known


def _of_numbers(texts: list[str], bound: int, beyond: str, refuse: Refuse) -> dict[str, int]:
    label: dict[str, int] = {}
    for text in texts:
        value = _whole(float(text))
        if value is None:
            raise refuse(text, text, "which is no whole number")
        if value < UNLABELLED:
            raise refuse(text, text, "give numbers from 0, or -1 for none")
        if value >= bound:
            raise refuse(text, text, beyond)
        label[text] = value
    return label


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


def _number(text: str) -> float | None:
    """The number that a text is, NaN for none; None for a name."""
    try:
        return None if "_" in text else float(text or "nan")
    except ValueError:
        return None


def _text(value: Any) -> str:
    """A cell as text, a whole number without a fraction."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, (float, Decimal)) and (number := _whole(value)) is not None:
        value = number
    return "" if value is None else str(value).strip()


def _whole(value: float | Decimal) -> int | None:
    """A number as an integer, -1 for NaN; None where it has a fraction or no end."""
    if math.isnan(value):
        return UNLABELLED
    return int(value) if math.isfinite(value) and value == int(value) else None
