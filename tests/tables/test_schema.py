# SPDX-License-Identifier: MIT
"""A table's file is checked in one line that names what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.tables.find import choose, find_table
from mixmask_solo.tables.schema import Sheet, read_table
from support.tables import TEXT


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("title: Two methods on digits", "", "title is missing"),
        ("head: added", "haed: added", r"unknown key haed \(did you mean head\?\)"),
        ("protocol: knn}", "protocol: kmm}", r"columns\[0\].protocol is 'kmm': choose knn or adam"),
        ("values: [90, 95.5]", "values: [90]", r"rows\[0\].values has 1 items: give 2"),
        ("values: [90, 95.5]", "values: [90, high]", r"rows\[0\].values\[1\].value is 'high'"),
        ("variant: _mixmask", "variant: _mixmasc", "there is no recipe .*simclr_mixmasc.yaml"),
        ("name: linear,", "name: k-NN,", "columns need names, each its own"),
        ("recipe: linear/digits/adam", "recipe: linear/digits/x", "no recipe .*digits/x.yaml"),
        (", recipe: linear/digits/adam", "", "protocols.adam.recipe is missing"),
        ("command: mixmask-knn", "command: mixmask-kn", "protocols.knn.command is 'mixmask-kn'"),
        ("k: 20", "k: 0", "protocols.knn.k is 0: give a whole number, at least 1"),
        ("variant: _mixmask", "variant: {k-N: _mixmask}", "a key of .*variant is 'k-N'"),
        ("title:", "title: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line(
    sheet: Sheet, tmp_path: Path, old: str, new: str, words: str
) -> None:
    file = tmp_path / "digits.yaml"
    assert old in TEXT
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigError, match=words) as error:
        read_table(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_cells_are_chosen_by_name(sheet: Sheet) -> None:
    assert len(choose(sheet)) == 3  # one of four is null
    assert [c.id for c in choose(sheet, columns=["linear"])] == ["digits/nothing/linear"]
    assert [c.row for c in choose(sheet, rows=["MixMask"])] == ["MixMask"]
    with pytest.raises(ConfigError, match=r"--datasets of digits is 'cifar10': choose digits"):
        choose(sheet, datasets=["cifar10"])


def test_a_table_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"no table 'tabel5' \(did you mean table5\?\)"):
        find_table("tabel5")
    with pytest.raises(ConfigError, match="no such file"):
        find_table("here/none.yaml")


def test_without_figures_every_row_has_all_cells(sheet: Sheet, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(TEXT.replace(", values: [90, 95.5]", "").replace(", values: [91.25, null]", ""))
    found = read_table(file)
    assert len(found.cells) == 4
    assert {cell.figure.status for cell in found.cells} == {"none"}
