# SPDX-License-Identifier: MIT
"""A table as its YAML file writes it: columns, rows, and how a cell is measured."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from mixmask_solo.config import ConfigError, check, option, require_known
from mixmask_solo.tables.protocol import Protocol

Status = Literal["published", "likely", "unreadable header", "unpublished", "none"]
_NAME = re.compile(r"[\w.-]+")


@dataclass
class Column:
    """A pretraining recipe, which rows vary, and its measurement."""

    name: str
    recipe: str  # below the table's `root`, without .yaml; a row's `variant` follows
    protocol: str
    dataset: str
    overrides: list[str] = option([])


@dataclass
class Row:
    """What is trained in each column, and its published figures.

    ``variant`` ends the recipe's name, ``overrides`` come on top; each the same for all columns
    or by column. ``values``: for each column the paper's figure, a block with ``value``, ``mark``,
    ``status``, or null where there is no such cell. Without ``values`` no cell has a figure.
    """

    name: str
    variant: str | dict[str, Any] = ""
    overrides: list[str] | dict[str, Any] = option([])
    values: list[Any] | None = None
    status: Status | None = None


@dataclass
class Figure:
    """One published figure."""

    value: float | None = None
    mark: str = ""
    status: Status | None = None


@dataclass
class Table:
    """All of a file."""

    title: str
    head: str  # what the rows differ in
    columns: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    protocols: dict[str, Any]
    paper: str = ""
    where: str = ""  # table and page
    unit: str = "%"
    lower_is_better: bool = False
    status: Status = "published"
    notes: str = ""
    root: str = ".."  # of recipes, from the table's folder


@dataclass(frozen=True)
class Cell:
    """One figure: what is trained, how it is measured, what the paper has."""

    table: str
    row: str
    column: str
    dataset: str
    recipe: Path  # the file's, without .yaml
    overrides: tuple[str, ...]
    protocol: Protocol
    probe: Path | None  # the probe's recipe
    figure: Figure
    variant: str = ""
    of_column: int = 0  # how many of the overrides are the column's
    named: frozenset[str] = frozenset()  # keys that any cell of the table overrides

    @property
    def id(self) -> str:
        return f"{self.table}/{self.row}/{self.column}"


@dataclass(frozen=True)
class Sheet:
    """A table read and checked."""

    name: str
    table: Table
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    cells: tuple[Cell, ...]

    @property
    def datasets(self) -> list[str]:
        """Of the columns and their protocols, each once: what a site's file may name."""
        found = [column.dataset for column in self.columns]
        return list(dict.fromkeys([*found, *(c.protocol.dataset or c.dataset for c in self.cells)]))


def read_table(file: Path) -> Sheet:
    """The table in a file.

    Raises:
        ConfigError: naming the file, and key and value of what is wrong.
    """
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from None
    try:
        return _checked(file, content)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _checked(file: Path, content: Any) -> Sheet:
    if not isinstance(content, Mapping):
        raise ConfigError("it is no table: give title, head, protocols, columns and rows")
    table = check(content, Table, "")
    protocols = {
        name: check(block, Protocol, f"protocols.{name}") for name, block in table.protocols.items()
    }
    columns = tuple(check(c, Column, f"columns[{i}]") for i, c in enumerate(table.columns))
    rows = tuple(check(r, Row, f"rows[{i}]") for i, r in enumerate(table.rows))
    for kind, parts in (("columns", columns), ("rows", rows)):
        names = [part.name for part in parts]
        if len(set(names)) < len(names) or not names:
            raise ConfigError(f"{kind} need names, each its own: {names}")
    root = (file.parent / table.root).resolve()
    named = frozenset(_keys(columns) | _keys(rows))
    cells = []
    for i, row in enumerate(rows):
        values = [{}] * len(columns) if row.values is None else row.values
        if len(values) != len(columns):
            raise ConfigError(
                f"rows[{i}].values has {len(values)} items: give {len(columns)}, one a column, "
                "null where there is no such cell"
            )
        for j, (column, value) in enumerate(zip(columns, values, strict=True)):
            require_known(f"columns[{j}].protocol", column.protocol, protocols)
            if value is None:
                continue
            protocol = protocols[column.protocol]
            overrides = _by_column(row.overrides, column, columns, f"rows[{i}].overrides") or []
            variant = _by_column(row.variant, column, columns, f"rows[{i}].variant") or ""
            cells.append(
                Cell(
                    table=file.stem,
                    row=row.name,
                    column=column.name,
                    dataset=column.dataset,
                    recipe=root / f"{column.recipe}{variant}",
                    overrides=(*column.overrides, *overrides),
                    protocol=protocol,
                    probe=root / protocol.recipe if protocol.recipe else None,
                    figure=_figure(value, f"rows[{i}].values[{j}]", row.status or table.status),
                    variant=variant,
                    of_column=len(column.overrides),
                    named=named,
                )
            )
    for cell in cells:
        for recipe in (cell.recipe, cell.probe):
            if recipe is not None and not recipe.with_name(f"{recipe.name}.yaml").is_file():
                raise ConfigError(
                    f"cell {cell.id}: there is no recipe {recipe}.yaml (root is {table.root}, from "
                    "the table's folder)"
                )
    return Sheet(file.stem, table, columns, rows, tuple(cells))


def _keys(parts: Iterable[Column | Row]) -> set[str]:
    """Keys of their overrides."""
    lists: list[Any] = []
    for part in parts:
        own = part.overrides
        lists += own.values() if isinstance(own, dict) else [own]
    return {str(word).lstrip("+~").partition("=")[0] for words in lists for word in words or ()}


def _by_column(value: Any, column: Column, columns: tuple[Column, ...], key: str) -> Any:
    """What holds for a column."""
    if not isinstance(value, dict):
        return value
    for name in value:
        require_known(f"a key of {key}", name, [c.name for c in columns])
    return value.get(column.name)


def _figure(value: Any, key: str, status: Status) -> Figure:
    block = value if isinstance(value, Mapping) else {"value": value}
    figure = check(block, Figure, key)
    figure.status = figure.status or ("none" if figure.value is None else status)
    return figure
