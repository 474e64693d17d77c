# SPDX-License-Identifier: MIT
"""Which columns of a Parquet file hold the images and the labels.

A column that is called as usual is taken first, then one that the ``datasets`` library declares as
an image or a class, then the only one of a fitting type.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mixmask_solo.config import ConfigError, did_you_mean, listing
from mixmask_solo.data.sources.base import Request

IMAGE = ("image", "img")
LABEL = ("label", "labels", "fine_label", "class", "target")
# whole numbers that say something else of an image
_NOT_LABELS = re.compile(r"((image_|img_)?id|idx|index|.*(width|height)|__.*)", re.I | re.S)
_FEW = 3  # of fewer rows that all differ nothing can be told


@contextmanager
def opened_table(file: Path) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile``, in which no two columns have one name."""
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


def choose(
    what: str,
    request: Request,
    file: object,
    kinds: Mapping[str, Any],
    usual: Sequence[str],
    names: Sequence[str],
    tiers: Sequence[Sequence[str]] = (),
) -> str | None:
    """The column of images or labels: that which ``data`` names, or one that is called as usual.

    It has to be one of ``names``, of all the ``kinds`` of columns. Else it is the only one of the
    first of the ``tiers`` that has any.
    """
    key = f"data.{what}_column"
    asked = getattr(request, f"{what}_column")
    if asked is not None and asked not in names:
        found = f"{file} has columns {listing(kinds, 'and')}"
        if asked in kinds:
            raise ConfigError(f"{key} is '{asked}', which holds {kinds[asked]}: {found}")
        raise ConfigError(f"{key} is '{asked}': {found}{did_you_mean(asked, kinds)}")
    name = asked if asked is not None else _called(names, usual)
    candidates = next((tier for tier in tiers if tier), [])
    if name is None and len(candidates) > 1:
        none = ", or set data.no_labels=true if none does" if what == "label" else ""
        raise ConfigError(
            f"{file} has columns {listing(candidates, 'and')}, each of which may hold the {what}s: "
            f"say which with {key}{none}"
        )
    return name or next(iter(candidates), None)


class Columns(NamedTuple):
    """The columns that hold images and labels, and the classes that the file declares."""

    image: str
    label: str | None
    classes: list[str]


def find_columns(file: Path, schema: Any, request: Request, ids: Collection[str]) -> Columns:
    """Which columns are meant; the numbers of those in ``ids`` are the rows' own, so no labels."""
    declared = _declared(schema)
    kinds = dict(zip(schema.names, schema.types, strict=True))

    def are(kind: str, names: Iterable[str]) -> list[str]:
        return [name for name in names if declared.get(name, {}).get("_type") == kind]

    fitting = [n for n, kind in kinds.items() if _holds_images(kind) and n.lower() not in LABEL]
    structs = [name for name in fitting if pa.types.is_struct(kinds[name])]
    tiers = (are("Image", fitting), structs, fitting)
    image = choose("image", request, file, kinds, IMAGE, fitting, tiers)
    if image is None:
        raise ConfigError(
            f"{file} has columns {listing(schema.names, 'and')}: "
            "give one named image, a struct with a field bytes or binary itself"
        )
    if request.no_labels:
        return Columns(image, None, [])
    others = [name for name in schema.names if name != image]
    classes = are("ClassLabel", others)
    if {"fine_label", "coarse_label"} <= set(classes):
        classes.remove("coarse_label")  # CIFAR-100's twenty groups of classes
    numbers = [name for name in _maybe_labels(schema) if name != image and name not in ids]
    label = choose("label", request, file, kinds, LABEL, others, (classes, numbers))
    names = declared.get(label, {}).get("names") if label is not None else None
    return Columns(image, label, [str(n) for n in names] if isinstance(names, list) else [])


def row_ids(files: Sequence[Path], request: Request) -> set[str]:
    """Columns of whole numbers that differ in every row of every file: no labels.

    They are looked at where no column is called as labels usually are, nor asked for.
    """
    ids: set[str] | None = None
    for file in files:
        with opened_table(file) as table:
            schema = table.schema_arrow
            usual = _called(schema.names, LABEL) is not None
            if usual or request.label_column is not None or request.no_labels:
                return set()
            if table.metadata.num_rows < _FEW:
                continue
            names = [name for name in _maybe_labels(schema) if ids is None or name in ids]
            ids = {n for n in names if _differ(table.read(columns=[n]).column(0), request)}
        if not ids:
            break
    return ids or set()


def _holds_images(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return str(kind) in ("binary", "large_binary")


def _maybe_labels(schema: Any) -> list[str]:
    """Columns that may hold labels by their types, and are not called something else."""
    kinds = (pa.types.is_integer, pa.types.is_boolean)
    names = [field.name for field in schema if any(are(field.type) for are in kinds)]
    return [name for name in names if not _NOT_LABELS.fullmatch(name)]


def _differ(column: Any, request: Request) -> bool:
    """Of few validation images labels may all differ, too; they are below the number of classes."""
    if pc.count_distinct(column, mode="all").as_py() < len(column):
        return False
    return not request.classes or pc.max(column).as_py() >= len(request.classes)


def _called(names: Sequence[str], usual: Sequence[str]) -> str | None:
    """The first column that is called as usual, in any case."""
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in usual if name in lowered), None)


def _declared(schema: Any) -> dict[str, Any]:
    """What the ``datasets`` library declares of columns; nothing if it did not write the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"].items()
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {name: feature for name, feature in features if isinstance(feature, dict)}
