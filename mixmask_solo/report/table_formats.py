# SPDX-License-Identifier: MIT
"""A table of paper and ours, for a terminal, Markdown, LaTeX, CSV and JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from mixmask_solo.report import columns
from mixmask_solo.tables.compare import Line
from mixmask_solo.tables.schema import Sheet
from mixmask_solo.tables.statistics import LEVEL

_NONE = "–"
_MARKS = {"likely": "likely", "unreadable header": "header unreadable"}


def head(sheet: Sheet) -> list[str]:
    unit = f" {sheet.table.unit}" if sheet.table.unit else ""
    interval = f"{LEVEL:.0%} interval".replace("%", " %")
    return [
        sheet.table.head,
        "column",
        f"{_theirs(sheet)}{unit}",
        "ours",
        "n",
        "difference",
        interval,
    ]


def _theirs(sheet: Sheet) -> str:
    """What the figures are that ours stand beside."""
    return "paper" if sheet.table.paper else "reference"


def cells(line: Line) -> list[str]:
    """A line's cells as text."""
    figure, ours = line.cell.figure, line.ours
    paper = _NONE if figure.value is None else f"{_plain(figure.value)}{figure.mark}"
    if figure.status in _MARKS:
        paper += f" ({_MARKS[figure.status]})"
    mean, n, difference, interval = _NONE, "0", _NONE, _NONE
    if ours is not None:
        mean, n = f"{ours.mean:.2f}", str(ours.n)
        if ours.std is not None:
            mean += f" ± {ours.std:.2f}"
        if line.difference is not None:
            difference = f"{line.difference:+.2f}"
        if line.interval is not None:
            interval = "{:+.2f} to {:+.2f}".format(*line.interval)
    return [line.cell.row, line.cell.column, paper, mean, n, difference, interval]


def _plain(value: float) -> str:
    """With the decimals that the paper has, at least one."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


def title(sheet: Sheet, scale: float) -> str:
    if scale == 1:
        return sheet.table.title
    return f"{sheet.table.title}, at scale {scale:g}: a rehearsal, not the experiment itself"


def notes(sheet: Sheet, lines: Sequence[Line]) -> list[str]:
    """What stands under the table."""
    told: dict[str, list[str]] = {}
    for line in lines:
        for note in line.notes:
            told.setdefault(note, []).append(f"{line.cell.row}, {line.cell.column}")
    found = [f"{note}: {'; '.join(where)}" for note, where in told.items()]
    metrics = dict.fromkeys(f"{x.cell.column}: {x.cell.protocol.metric}" for x in lines)
    ours = (
        "ours: mean ± sample deviation over n seeds; interval: of the difference, two-sided, "
        f"Student's t, the {_theirs(sheet)}'s figure taken as it stands"
    )
    return ["; ".join(metrics), ours, *found]


def as_text(sheet: Sheet, lines: Sequence[Line], scale: float) -> str:
    body = columns([head(sheet), *map(cells, lines)], right=(2, 3, 4, 5, 6))
    return "\n".join([title(sheet, scale), "", body, "", *notes(sheet, lines)])


def _plain_cells(row: Sequence[str]) -> list[str]:
    return [cell.replace("\\", r"\\").replace("|", r"\|") for cell in row]


def as_markdown(sheet: Sheet, lines: Sequence[Line], scale: float) -> str:
    rows = [_plain_cells(head(sheet)), ["---", "---", "---:", "---:", "---:", "---:", "---:"]]
    rows += [_plain_cells(cells(line)) for line in lines]
    body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(
        [f"**{title(sheet, scale)}**", "", *body, "", *(f"{x}  " for x in notes(sheet, lines))]
    )


_TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$"}
_TEX |= {"{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {"±": r"$\pm$", "–": "--", "†": r"$\dagger$", "×": r"$\times$"}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def as_latex(sheet: Sheet, lines: Sequence[Line], scale: float) -> str:
    rows = [" & ".join(map(_tex, cells(line))) + r" \\" for line in lines]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_tex(title(sheet, scale))}}}",
            r"  \begin{tabular}{llrrrrr}",
            r"    \toprule",
            "    " + " & ".join(map(_tex, head(sheet))) + r" \\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            *(rf"  \par\footnotesize {_tex(note)}" for note in notes(sheet, lines)),
            r"\end{table}",
        ]
    )


def as_dict(sheet: Sheet, lines: Sequence[Line], scale: float) -> dict[str, Any]:
    """What the JSON holds; figures that are not there are null."""
    return {
        "table": sheet.name,
        "title": sheet.table.title,
        "paper": sheet.table.paper,
        "where": sheet.table.where,
        "unit": sheet.table.unit,
        "scale": scale,
        "cells": [_entry(line) for line in lines],
        "notes": notes(sheet, lines),
    }


def _entry(line: Line) -> dict[str, Any]:
    ours, interval = line.ours, line.interval
    return {
        "row": line.cell.row,
        "column": line.cell.column,
        "dataset": line.cell.dataset,
        "metric": line.cell.protocol.metric,
        "paper": line.cell.figure.value,
        "status": line.cell.figure.status,
        "mean": ours.mean if ours else None,
        "std": ours.std if ours else None,
        "n": ours.n if ours else 0,
        "difference": line.difference,
        "interval": list(interval) if interval else None,
        "values": {str(seed): value for seed, value in line.values.items()},
        "states": line.states,
        "notes": list(line.notes),
    }


def as_json(sheet: Sheet, lines: Sequence[Line], scale: float) -> str:
    return json.dumps(as_dict(sheet, lines, scale), indent=2, ensure_ascii=False)


def as_csv(sheet: Sheet, lines: Sequence[Line], scale: float) -> str:
    keys = ("row", "column", "dataset", "metric", "paper", "status", "mean", "std", "n")
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["table", "scale", *keys, "difference", "low", "high"])
    for line in lines:
        entry = _entry(line)
        low, high = entry["interval"] or (None, None)
        own = [entry[key] for key in keys]
        writer.writerow([sheet.name, f"{scale:g}", *own, entry["difference"], low, high])
    return stream.getvalue().rstrip("\n")


FORMATS: dict[str, Callable[[Sheet, Sequence[Line], float], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}
