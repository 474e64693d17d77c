# SPDX-License-Identifier: MIT
"""Tables on a report's page: a whole one with its runs, or the cells that some runs are."""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

from mixmask_solo.cli.table_asked import Asked, planned, records
from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.report.page.data import PageRun, read
from mixmask_solo.report.page.render import Draw, page
from mixmask_solo.report.page.results import PaperCell, Table
from mixmask_solo.report.table_formats import cells, head, notes, title
from mixmask_solo.tables.compare import Line, lines
from mixmask_solo.tables.find import find_table, names
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.schema import Cell, Sheet


def table_page(name: str, folder: Path, scale: float, draw: Draw | None) -> str:
    """The page of a table: paper and ours, then the runs below ``folder`` that it is made of.

    Raises:
        ConfigError: where there is no such table.
    """
    sheet = find_table(name)
    asked = _asked(sheet, sheet.cells, folder, scale)
    found = list(records(folder)) if folder.is_dir() else []
    wrong: dict[str, str] = {}
    chosen = planned(asked, wrong=wrong)
    runs = Runs(found)
    made = lines(asked.cells, chosen, runs, wrong)
    own = dict.fromkeys(run.record.folder for training in chosen for run in runs.of(training))
    text = Table(
        title(sheet, scale),
        head(sheet),
        [cells(line) for line in made],
        [*notes(sheet, made), *sheet.table.notes.strip().split("\n\n")],
    )
    return page(read(list(own)), draw=draw, tables=[text], title=title(sheet, scale))


def paper_cells(runs: Sequence[PageRun]) -> list[PaperCell]:
    """The cells of the papers' tables that these runs are, with what was measured of them.

    Only tables of the data sets and methods of these runs are composed; full scale alone counts.
    """
    told = [run.record for run in runs]
    kinds = {_kind(record) for record in told if record.kind == "pretrain"}
    found = []
    for name in names() if kinds else ():
        sheet = find_table(name)
        chosen = [cell for cell in sheet.cells if _may_be(cell, kinds)]
        if chosen:
            asked = _asked(sheet, chosen, Path(), 1)
            made = lines(chosen, planned(asked, wrong={}), Runs(told))
            found += [_cell(sheet, line) for line in made if line.states]
    return found


def _asked(sheet: Sheet, chosen: Iterable[Cell], folder: Path, scale: float) -> Asked:
    nothing: dict[str, list[str]] = {"datasets": [], "rows": [], "columns": [], "overrides": []}
    asked = Asked(sheet, Namespace(**nothing, seeds=[0], scale=scale, runs=folder, site=None))
    asked.cells = list(chosen)
    return asked


def _kind(record: RunRecord) -> tuple[str, str]:
    return str(record.config["method"]), str((record.config.get("data") or {}).get("dataset"))


def _may_be(cell: Cell, kinds: Iterable[tuple[str, str]]) -> bool:
    method = cell.recipe.name.partition("_")[0]
    return (method, cell.dataset) in kinds


def _cell(sheet: Sheet, line: Line) -> PaperCell:
    ours, figure = line.ours, line.cell.figure
    told = [figure.status] if figure.status in ("likely", "unreadable header") else []
    where = f"{sheet.table.paper}, {sheet.table.where}{f' {figure.mark}' * bool(figure.mark)}"
    return PaperCell(
        f"{line.cell.row}, {line.cell.column}",
        line.cell.protocol.metric,
        figure.value,
        ours.mean if ours else None,
        ours.std if ours else None,
        ours.n if ours else 0,
        "; ".join([where, *told, *line.notes]),
    )
