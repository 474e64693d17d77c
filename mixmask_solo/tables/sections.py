# SPDX-License-Identifier: MIT
"""Writes the tables into ``scripts/README.md``: ``python -m mixmask_solo.tables.sections``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mixmask_solo.config.files import replacing
from mixmask_solo.tables.find import find_table, folder, names
from mixmask_solo.tables.protocol import Protocol
from mixmask_solo.tables.schema import Cell, Column, Figure, Sheet

BEGIN = "<!-- made of scripts/tables by `make tables` -->"
END = "<!-- end of the tables -->"
_WORDS = {"likely": " (likely)", "unreadable header": " (header unreadable)"}


def section(sheet: Sheet) -> str:
    """A table: what is trained and measured in each column, then the figures."""
    base = [["column", "recipe", "measured by"], ["---"] * 3]
    base += [[c.name, _recipe(c), _measure(sheet, c)] for c in sheet.columns]
    groups = _alike(sheet)
    head = [sheet.table.head, *(f"changes of {', '.join(group)}" for group in groups)]
    head = head if len(groups) > 1 else [sheet.table.head, "changes"]
    rows = [[*head, *(c.name for c in sheet.columns)]]
    rows.append(["---"] * len(rows[0]))
    best = {c.name: _best(sheet, c) for c in sheet.columns}
    for row in sheet.rows:
        own = {cell.column: cell for cell in sheet.cells if cell.row == row.name}
        changes = [_change(next(own[name] for name in group if name in own)) for group in groups]
        figures = [_figure(own.get(c.name), best[c.name]) for c in sheet.columns]
        rows.append([row.name.replace("*", r"\*"), *changes, *figures])
    text = [f"### {sheet.table.title}", "", *_lines(base), "", *_lines(rows), ""]
    return "\n".join([*text, sheet.table.notes.strip()])


def _lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]


def _recipe(column: Column) -> str:
    return f"`{' '.join([column.recipe, *column.overrides])}`"


def _measure(sheet: Sheet, column: Column) -> str:
    cell = next(cell for cell in sheet.cells if cell.column == column.name)
    return f"{cell.protocol.metric}: {_how(cell.protocol)}"


def _how(p: Protocol) -> str:
    if p.command == "mixmask-knn":
        return f"`mixmask-knn` on the {p.features}, k {p.k}, T {p.temperature:g}"
    return f"`{' '.join([str(p.recipe), *p.overrides])}`"


def _alike(sheet: Sheet) -> list[list[str]]:
    """Columns by name, in groups in which each row changes the same."""
    groups: list[tuple[dict[str, str], list[str]]] = []
    for column in sheet.columns:
        own = {cell.row: _change(cell) for cell in sheet.cells if cell.column == column.name}
        for changes, alike in groups:
            if all(changes.get(row, change) == change for row, change in own.items()):
                changes.update(own)
                alike.append(column.name)
                break
        else:
            groups.append((own, [column.name]))
    return [alike for _, alike in groups]


def _change(cell: Cell) -> str:
    """What a row adds to the column's recipe: the end of its name, and overrides."""
    column = [word for word in cell.overrides if word not in _own(cell)]
    words = [f"`{word}`" for word in [cell.variant, *column] if word]
    return " ".join(words) or "nothing"


def _own(cell: Cell) -> tuple[str, ...]:
    """Overrides of the column, which come first."""
    return cell.overrides[: cell.of_column]


def _best(sheet: Sheet, column: Column) -> float | None:
    values = [c.figure.value for c in sheet.cells if c.column == column.name]
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    return min(known) if sheet.table.lower_is_better else max(known)


def _figure(cell: Cell | None, best: float | None) -> str:
    if cell is None or cell.figure.value is None:
        return "–"
    figure: Figure = cell.figure
    value = figure.value or 0.0
    places = 1 if round(value, 1) == value else 2
    text = f"{value:.{places}f}"
    text = f"**{text}**" if value == best else text
    return f"{text}{' ' * bool(figure.mark)}{figure.mark}{_WORDS.get(figure.status or '', '')}"


def with_sections(readme: str) -> str:
    """The file's text with the tables as they are now between its two marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    made = "\n\n".join(section(find_table(name)) for name in _order())
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def _order() -> list[str]:
    """The paper's numbered tables first."""
    known = names()
    return sorted(known, key=lambda name: (not name.startswith("table"), name != "figure5", name))


def main() -> None:
    """Rewrites the README beside the tables."""
    readme = folder().parent / "README.md"
    text = with_sections(readme.read_text("utf-8"))
    with replacing(readme) as temporary:
        Path(temporary).write_text(text, "utf-8")
    print(f"wrote {readme}", file=sys.stderr)


if __name__ == "__main__":
    main()
