# SPDX-License-Identifier: MIT
"""Which columns of a Parquet file hold the images and the labels, and what the labels are.

A column that is called as usual is taken first, then one that the ``datasets`` library declares as
an image or a class, then the only one of a fitting type.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mixmask_solo.config import ConfigError
from mixmask_solo.config.errors import did_you_mean, listing
from mixmask_solo.data.sources.base import Labels
from mixmask_solo.data.sources.labels import UNLABELLED, Where, refused, whole
from mixmask_solo.data.sources.request import Request

__all__ = [
    *("IMAGE", "LABEL", "class_names", "image_column", "label_column", "label_values"),
    *("maybe_labels", "path_in"),
]

IMAGE = ("image", "img")
LABEL = ("label", "labels", "fine_label", "class", "target")
# whole numbers that say something else of an image, as whole names or at their ends
_NOT_LABELS = ("id", "idx", "index", "image_id", "img_id")
_SIZES = ("width", "height")
_SAFE = 2**62  # beyond any number of images, within 64 bits


def image_column(file: Path, schema: Any, request: Request) -> str:
    """The name of the column that holds the images.

    Raises:
        ConfigError: where there is none, or several that may be meant.
    """
    kinds = {name: schema.field(name).type for name in schema.names}
    fitting = [name for name in kinds if _holds_images(kinds[name]) and name.lower() not in LABEL]
    if request.image_column is not None:
        return _named(file, schema, "image_column", request.image_column, fitting)
    declared = [name for name in fitting if _feature(schema, name).get("_type") == "Image"]
    structs = [name for name in fitting if _is(kinds[name], "struct")]
    found = _only(file, "image", IMAGE, fitting, declared, structs, fitting)
    if found is None:
        raise ConfigError(
            f"{file} has columns {listing(schema.names, 'and')}: "
            "give one named image, a struct with a field bytes or binary itself"
        )
    return found


def path_in(schema: Any, name: str) -> str:
    """What Parquet calls the column's bytes."""
    import pyarrow as pa

    return f"{name}.bytes" if pa.types.is_struct(schema.field(name).type) else name


def label_column(
    file: Path, schema: Any, image: str, request: Request, ids: Collection[str] = ()
) -> str | None:
    """The name of the column that holds the labels; None where there is none.

    Args:
        file: for messages.
        schema: the table's.
        image: the column of the images.
        request: may name the column.
        ids: columns whose numbers are the rows' own, hence no labels.

    Raises:
        ConfigError: where several may be meant, or the one that is asked for is not there.
    """
    names = [name for name in schema.names if name != image]
    if request.no_labels:
        return None
    if request.label_column is not None:
        return _named(file, schema, "label_column", request.label_column, names)
    declared = [name for name in names if _feature(schema, name).get("_type") == "ClassLabel"]
    if {"fine_label", "coarse_label"} <= set(declared):
        declared.remove("coarse_label")  # CIFAR-100's twenty groups of classes
    fitting = [name for name in maybe_labels(schema) if name != image and name not in ids]
    return _only(file, "label", LABEL, names, declared, fitting)


def maybe_labels(schema: Any) -> list[str]:
    """Columns that may hold labels by their types, and are not called something else."""
    return [
        name
        for name in schema.names
        if _is(schema.field(name).type, "integer", "boolean")
        and name.lower() not in _NOT_LABELS
        and not name.lower().endswith(_SIZES)
        and not name.startswith("__")
    ]


def class_names(schema: Any, label: str | None) -> list[str]:
    """The names that the ``datasets`` library leaves in the schema, if it wrote the file."""
    names = None if label is None else _feature(schema, label).get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def label_values(column: Any, where: Where) -> tuple[str, Labels | list[str]]:
    """What a column says, row by row.

    Args:
        column: an Arrow column.
        where: from a row to the file and the row in it, for messages.

    Returns:
        A kind, by which shards can be compared (empty where nothing is said), and whole numbers
        with -1 for none, or texts with nothing in them for none.

    Raises:
        ConfigError: for a label that is no whole number, or a column of another type.
    """
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        return label_values(column.cast(kind.value_type), where)
    if pa.types.is_null(kind) or column.null_count == len(column):
        return "", np.full(len(column), UNLABELLED)
    if pa.types.is_boolean(kind):
        return "booleans", [_text(value) for value in column.to_pylist()]
    if pa.types.is_integer(kind):
        return "numbers", _integers(column, where)
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numbers", _floats(column, where)
    if _is(kind, "string", "large_string", "string_view", "binary", "large_binary"):
        return "texts", [_text(value) for value in column.to_pylist()]
    raise ConfigError(f"{where(0)} has a label of type {kind}: give whole numbers or names")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value).strip()


def _integers(column: Any, where: Where) -> Labels:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_unsigned_integer(column.type):
        wide = column.cast(pa.uint64())
        beyond = pc.index(pc.greater(wide, pa.scalar(_SAFE, pa.uint64())), True).as_py()
        if beyond >= 0:
            problem = "but there are not that many images: number the classes from 0"
            raise refused(where(beyond), wide[beyond], problem)
    labels: Labels = column.cast(pa.int64()).fill_null(UNLABELLED).to_numpy()
    return labels


def _floats(column: Any, where: Where) -> Labels:
    import pyarrow as pa

    values = column.cast(pa.float64()).to_numpy().astype(np.float64)
    labels = np.where(np.isnan(values), UNLABELLED, values)
    odd = np.flatnonzero((labels != np.floor(labels)) | (np.abs(labels) > _SAFE))
    if len(odd):
        row = int(odd[0])
        if whole(labels[row]) is None:
            raise refused(where(row), column[row], "which is no whole number")
        problem = "but there are not that many images: number the classes from 0"
        raise refused(where(row), column[row], problem)
    return labels.astype(np.int64)


def _only(
    file: Path, what: str, usual: Sequence[str], names: Sequence[str], *tiers: Sequence[str]
) -> str | None:
    """One that is called as usual among ``names``, else the only one of the first tier."""
    lowered = {name.lower(): name for name in reversed(names)}
    called = next((lowered[name] for name in usual if name in lowered), None)
    candidates = next((tier for tier in tiers if tier), [])
    if called is None and len(candidates) > 1:
        none = ", or set data.no_labels=true if none does" if what == "label" else ""
        raise ConfigError(
            f"{file} has columns {listing(candidates, 'and')}, each of which may hold the {what}s: "
            f"say which with data.{what}_column{none}"
        )
    return called or next(iter(candidates), None)


def _named(file: Path, schema: Any, key: str, name: str, fitting: Sequence[str]) -> str:
    if name in fitting:
        return name
    found = f"{file} has columns {listing(schema.names, 'and')}"
    if name in schema.names:
        raise ConfigError(f"data.{key} is '{name}', which holds {schema.field(name).type}: {found}")
    raise ConfigError(f"data.{key} is '{name}': {found}{did_you_mean(name, schema.names)}")


def _feature(schema: Any, name: str) -> dict[str, Any]:
    """What the ``datasets`` library declares of a column; nothing if it did not write the file."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][name]
    except (KeyError, TypeError, ValueError):
        return {}
    return feature if isinstance(feature, dict) else {}


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return _is(kind, "binary", "large_binary")


def _is(kind: Any, *names: str) -> bool:
    import pyarrow as pa

    checks: list[Callable[[Any], bool]] = [getattr(pa.types, f"is_{n}", _never) for n in names]
    return any(check(kind) for check in checks)


def _never(kind: Any) -> bool:
    return False
