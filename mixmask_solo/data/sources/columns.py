# SPDX-License-Identifier: MIT
"""Which columns of a Parquet file hold the images and the labels.

A column that is called as usual is taken first, then one that the ``datasets`` library declares as
an image or a class, then the only one of a fitting type.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mixmask_solo.config import ConfigError
from mixmask_solo.config.nearest import did_you_mean, listing
from mixmask_solo.data.sources.request import Request

__all__ = ["IMAGE", "LABEL", "called", "class_names", "find_columns", "opened_table", "row_ids"]

IMAGE = ("image", "img")
LABEL = ("label", "labels", "fine_label", "class", "target")
# whole numbers that say something else of an image, as whole names or at their ends
_NOT_LABELS = ("id", "idx", "index", "image_id", "img_id")
_SIZES = ("width", "height")
_FEW = 3  # of fewer rows that all differ nothing can be told


@contextmanager
def opened_table(file: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``, in which no two columns have one name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file, memory_map=True) as table:
            names = table.schema_arrow.names
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ConfigError(
                    f"{file} has {names.count(twice)} columns '{twice}': give each its own name"
                )
            yield table
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise ConfigError(f"{file} is not a readable Parquet file: {reason}") from None


def called(names: Sequence[str], usual: Iterable[str]) -> str | None:
    """The first column that is called as usual, in any case."""
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in usual if name in lowered), None)


def find_columns(
    file: Path, schema: Any, request: Request, ids: Collection[str]
) -> tuple[str, str | None]:
    """The names of the columns that hold the images and, if there is one, the labels.

    The numbers of the columns ``ids`` are the rows' own, hence no labels.
    """
    features = {name: _feature(schema, name).get("_type") for name in schema.names}
    image = _image_column(file, schema, request, features)
    names = [name for name in schema.names if name != image]
    if request.no_labels:
        return image, None
    if request.label_column is not None:
        return image, _named(file, schema, "label_column", request.label_column, names)
    declared = [name for name in names if features[name] == "ClassLabel"]
    if {"fine_label", "coarse_label"} <= set(declared):
        declared.remove("coarse_label")  # CIFAR-100's twenty groups of classes
    fitting = [name for name in _maybe_labels(schema) if name != image and name not in ids]
    return image, _only(file, "label", LABEL, names, declared, fitting)


def class_names(schema: Any, label: str | None) -> list[str]:
    """The names that the ``datasets`` library leaves in the schema, if it wrote the file."""
    names = None if label is None else _feature(schema, label).get("names")
    return [str(name) for name in names] if isinstance(names, list) else []


def row_ids(files: Sequence[Path], request: Request) -> set[str]:
    """Columns of whole numbers that differ in every row of every file: no labels.

    Only what nothing else tells is looked at: no column is called as labels usually are, nor asked
    for. In a validation split numbers below the number of classes may be labels all the same.
    """
    ids: set[str] | None = None
    for file in files:
        with opened_table(file) as table:
            schema = table.schema_arrow
            usual = called(schema.names, LABEL) is not None
            if usual or request.label_column is not None or request.no_labels:
                return set()
            if table.metadata.num_rows < _FEW:
                continue
            names = [name for name in _maybe_labels(schema) if ids is None or name in ids]
            ids = {n for n in names if _differ(table.read(columns=[n]).column(0), request)}
        if not ids:
            break
    return ids or set()


def _image_column(file: Path, schema: Any, request: Request, features: dict[str, Any]) -> str:
    import pyarrow as pa

    fields = [field for field in schema if field.name.lower() not in LABEL]
    structs = [
        field.name
        for field in fields
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
    ]
    binary = [field.name for field in fields if str(field.type) in ("binary", "large_binary")]
    fitting = [name for name in schema.names if name in (*structs, *binary)]
    if request.image_column is not None:
        return _named(file, schema, "image_column", request.image_column, fitting)
    declared = [name for name in fitting if features[name] == "Image"]
    found = _only(file, "image", IMAGE, fitting, declared, structs, fitting)
    if found is None:
        raise ConfigError(
            f"{file} has columns {listing(schema.names, 'and')}: "
            "give one named image, a struct with a field bytes or binary itself"
        )
    return found


def _maybe_labels(schema: Any) -> list[str]:
    """Columns that may hold labels by their types, and are not called something else."""
    import pyarrow as pa

    return [
        field.name
        for field in schema
        if (pa.types.is_integer(field.type) or pa.types.is_boolean(field.type))
        and field.name.lower() not in _NOT_LABELS
        and not field.name.lower().endswith(_SIZES)
        and not field.name.startswith("__")
    ]


def _differ(column: Any, request: Request) -> bool:
    import pyarrow.compute as pc

    if pc.count_distinct(column, mode="all").as_py() < len(column):
        return False
    return not request.classes or pc.max(column).as_py() >= len(request.classes)


def _only(
    file: Path, what: str, usual: Sequence[str], names: Sequence[str], *tiers: Sequence[str]
) -> str | None:
    """One that is called as usual among ``names``, else the only one of the first tier."""
    candidates = next((tier for tier in tiers if tier), [])
    found = called(names, usual)
    if found is None and len(candidates) > 1:
        none = ", or set data.no_labels=true if none does" if what == "label" else ""
        raise ConfigError(
            f"{file} has columns {listing(candidates, 'and')}, each of which may hold the {what}s: "
            f"say which with data.{what}_column{none}"
        )
    return found or next(iter(candidates), None)


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
