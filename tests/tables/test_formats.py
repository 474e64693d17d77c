# SPDX-License-Identifier: MIT
"""Paper and ours in five formats, against files that were read by a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mixmask_solo.report.table_formats import FORMATS
from mixmask_solo.tables.compare import lines
from mixmask_solo.tables.schema import Sheet
from mixmask_solo.tables.training import Training
from support.tables import Folder

GOLDEN = Path(__file__).parent / "golden"
ENDINGS = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


@pytest.fixture
def shown(sheet: Sheet, plan: Callable[..., list[Training]], folder: Folder) -> dict[str, str]:
    planned = plan()
    for seed, acc1 in enumerate((91.0, 93.0, 92.0)):
        folder.knn(folder.run(planned[0], seed), acc1)
    run = folder.run(planned[0], 7)
    folder.probe(planned[0], run, 95.25)
    found = lines(sheet.cells, planned, folder.runs)
    return {name: made(sheet, found, 1.0) for name, made in FORMATS.items()}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_as_it_was_read(shown: dict[str, str], name: str) -> None:
    golden = GOLDEN / f"digits.{ENDINGS[name]}"
    assert shown[name] == golden.read_text("utf-8").rstrip("\n")


def test_a_rehearsal_is_called_one_everywhere(
    sheet: Sheet, plan: Callable[..., list[Training]], folder: Folder
) -> None:
    found = lines(sheet.cells, plan(scale=0.1), folder.runs)
    for name, made in FORMATS.items():
        text = made(sheet, found, 0.1)
        if name == "json":
            assert json.loads(text)["scale"] == 0.1
        elif name == "csv":
            assert all(row.split(",")[1] == "0.1" for row in text.splitlines()[1:])
        else:
            assert "at scale 0.1: a rehearsal, not the experiment itself" in text


def test_a_table_of_ones_own_has_no_paper(sheet: Sheet) -> None:
    own = replace(sheet, table=replace(sheet.table, paper=""))
    text = FORMATS["text"](own, [], 1.0)
    assert "reference %" in text
    assert "the reference's figure taken as it stands" in text
    assert "paper" not in text


def test_names_are_escaped(
    sheet: Sheet, plan: Callable[..., list[Training]], folder: Folder
) -> None:
    [line, *_] = lines(sheet.cells, plan(), folder.runs)
    odd = replace(line, cell=replace(line.cell, row="50 % of a_b & |c|"))
    assert r"50 \% of a\_b \& |c|" in FORMATS["latex"](sheet, [odd], 1.0)
    assert r"50 % of a_b & \|c\|" in FORMATS["markdown"](sheet, [odd], 1.0)
    piped = replace(sheet, table=replace(sheet.table, head="a|b"))
    assert r"| a\|b | column |" in FORMATS["markdown"](piped, [odd], 1.0)
