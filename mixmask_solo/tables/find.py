# SPDX-License-Identifier: MIT
"""Where tables lie, and which of their cells are meant."""

from collections.abc import Sequence
from pathlib import Path

import mixmask_solo
from mixmask_solo.config import ConfigError, did_you_mean, listing, require_known
from mixmask_solo.tables.schema import Cell, Sheet, read_table

_FOLDER = Path("scripts", "tables")


def folder() -> Path:
    """``scripts/tables`` of the current folder, else of the checkout that this package is in."""
    own = Path(mixmask_solo.__file__).parents[1] / _FOLDER
    return _FOLDER if _FOLDER.is_dir() else own


def names() -> list[str]:
    return sorted(file.stem for file in folder().glob("*.yaml"))


def find_table(name: str) -> Sheet:
    """A table by its name, or the path of its file.

    Raises:
        ConfigError: where there is no such table, with the names there are.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return read_table(Path(name))
    known = names()
    if name not in known:
        if not known:
            raise ConfigError(
                f"no table '{name}': there is no folder {_FOLDER} here; give a file, or run this "
                "in the checkout"
            )
        near = did_you_mean(name, known)
        raise ConfigError(f"no table '{name}'{near}: there are {listing(known, 'and')}; or a file")
    return read_table(folder() / f"{name}.yaml")


def choose(
    sheet: Sheet,
    datasets: Sequence[str] = (),
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
) -> list[Cell]:
    """Cells of these data sets, rows and columns; all where none is named.

    Raises:
        ConfigError: for a name that the table does not have.
    """
    for option, given, known in (
        ("--datasets", datasets, {c.dataset for c in sheet.columns}),
        ("--rows", rows, {r.name for r in sheet.rows}),
        ("--columns", columns, {c.name for c in sheet.columns}),
    ):
        for name in given:
            require_known(f"{option} of {sheet.name}", name, sorted(known))
    return [
        cell
        for cell in sheet.cells
        if (not datasets or cell.dataset in datasets)
        and (not rows or cell.row in rows)
        and (not columns or cell.column in columns)
    ]
