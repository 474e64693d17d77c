# SPDX-License-Identifier: MIT
"""A report of a table, and the paper's cell beside a run that is one."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mixmask_solo.cli import report
from mixmask_solo.cli.compose import compose
from mixmask_solo.cli.table_report import paper_cells
from mixmask_solo.report.page.data import read
from mixmask_solo.runs.linear import resolve_unread
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.tables.find import choose, find_table
from mixmask_solo.tables.schema import Sheet, read_table
from mixmask_solo.tables.training import Training
from mixmask_solo.tables.work import trainings
from support.pages import Parsed
from support.tables import TEXT, Folder

Command = Callable[..., int]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["mixmask-report", *map(str, arguments)])
        try:
            report.main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return run


def planned(sheet: Sheet, **chosen: list[str]) -> list[Training]:
    return trainings(
        choose(sheet, **chosen),
        (0,),
        compose=compose,
        resolve=lambda cfg: resolve(cfg, here=False),
        resolve_probe=resolve_unread,
    )


def test_a_tables_page_has_its_figures_and_its_runs(command: Command, tmp_path: Path) -> None:
    file, runs = tmp_path / "digits.yaml", Folder(tmp_path / "runs")
    file.write_text(TEXT)
    training = planned(read_table(file))[0]
    for seed, acc1 in enumerate((91.0, 93.0)):
        runs.knn(runs.run(training, seed), acc1)
    out = tmp_path / "page.html"
    assert command(file, "--runs", runs.root, "--no-samples", "--out", out) == 0
    page = Parsed(out.read_text())
    assert "nothing k-NN 90.0 92.00 ± 1.41 2 +2.00 -10.71 to +14.71" in page.text
    assert "2 runs in 1 groups" in page.text or "seeds 0, 1" in page.text


def test_a_table_without_runs_is_the_papers_alone(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert command("table4", "--runs", tmp_path / "none", "--no-samples", "--out", out) == 0
    text = Parsed(out.read_text()).text
    assert "MSCN 800 epochs 71.5 – 0" in text
    assert "No run of it is there yet." in text


def test_a_run_stands_beside_the_cells_it_is(tmp_path: Path) -> None:
    runs = Folder(tmp_path)
    [training] = planned(find_table("table5"), rows=["MixMask"], columns=["C-100 MoCo"])
    folder = runs.run(training, 3)
    row = {"features": "projector", "k": 200, "temperature": 0.1}
    runs.knn(folder, 68.0, **row)
    told = json.loads((folder / "knn.json").read_text())
    (folder / "knn.json").write_text(json.dumps({**told, "dataset": "cifar100"}))
    found = {(cell.source, cell.name): cell for cell in paper_cells(read([folder]))}
    five = found["MixMask, Table 5", "MixMask, C-100 MoCo"]
    assert (five.paper, five.ours, five.std, five.n) == (68.4, 68.0, None, 1)
    assert found["MixMask, Table 1", "grid 2, CIFAR-100"].paper == 68.1  # the same run
    assert found["MixMask, Figure 5", "MixMask, 1000 epochs"].paper is None
    assert ("MixMask, Table 1", "grid 4, CIFAR-100") not in found


def test_what_qualifies_a_figure_stands_beside_it(tmp_path: Path) -> None:
    runs = Folder(tmp_path)
    [training] = planned(find_table("table3"), rows=["0.5"])
    config = {**training.identity, "seed": 0, "precision": "bf16-mixed"}
    config.pop("processes")
    folder = runs.run(training, 0, config=config)
    found = [cell for cell in paper_cells(read([folder])) if "Table 3" in cell.source]
    assert [(cell.paper, cell.ours) for cell in found] == [(69.5, None)]
    assert found[0].source == "MixMask, Table 3; likely"
    runs.probe(training, folder, 69.0)
    probe = sorted((tmp_path / "linear").iterdir())
    [cell] = [c for c in paper_cells(read([folder, *probe])) if "Table 3" in c.source]
    assert cell.ours == 69.0
    assert cell.source == "MixMask, Table 3; likely; precision bf16-mixed"


def test_options_of_tables_and_of_runs_are_told_apart(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        ((tmp_path, "--scale", "0.1"), "--scale is for a table"),
        ((tmp_path, "--runs", tmp_path), "--runs is for a table"),
        (("table5", "--watch"), "--watch is for runs"),
        (("none.yaml",), "none.yaml: no such file"),
    ):
        assert command(*words, "--no-samples") == 2
        assert said in capsys.readouterr().err
