# SPDX-License-Identifier: MIT
"""scripts/README.md, table by table: every cell is a command that composes and validates."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.cli import knn
from mixmask_solo.cli.compose import compose
from mixmask_solo.config import resolve_linear

SCRIPTS = Path(__file__).parents[2] / "scripts"
SECTIONS = re.split(r"^### (Table \d).*$", (SCRIPTS / "README.md").read_text(), flags=re.M)[1:]


class Cell(NamedTuple):
    """One figure of the paper and the two commands behind it; † marks block masks of ours."""

    table: str
    column: str
    row: str
    value: float
    marked: bool
    train: list[str]
    measure: list[str]


def _commands(text: str) -> dict[str, list[str]]:
    """Per column the lines of its commands."""
    (block,) = re.findall(r"```bash\n(.*?)```", text, flags=re.S)
    columns: dict[str, list[str]] = {}
    for part in block.replace("\\\n", " ").strip().split("\n\n"):
        name, *lines = part.splitlines()
        columns[name.removeprefix("# ")] = lines
    return columns


def _cells(table: str, text: str) -> list[Cell]:
    text = text.split("\n## ")[0]
    commands = _commands(text)
    head, _, *rows = ([c.strip() for c in r.strip("| ").split("|")] for r in _rows(text))
    assert head[1] == "ROW"
    assert head[2:] == list(commands)
    cells = []
    for label, change, *values in rows:
        row = "" if change == "nothing" else change.strip("`")
        for column, value in zip(head[2:], values, strict=True):
            if value != "–":
                lines = [shlex.split(line.replace("ROW", row)) for line in commands[column]]
                figure = float(value.strip("*† "))
                cells.append(Cell(table, column, label, figure, "†" in value, *lines))
    return cells


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


CELLS = [
    cell
    for table, text in zip(SECTIONS[::2], SECTIONS[1::2], strict=True)
    for cell in _cells(table, text)
]


def _parsed(command: list[str]) -> tuple[Path, str, tuple[str, ...]]:
    _, flag, folder, other, name, *overrides = command
    assert (flag, other) == ("--config-path", "--config-name")
    return SCRIPTS.parent / folder, name, tuple(overrides)


@cache
def _probe(folder: Path, name: str, overrides: tuple[str, ...]) -> DictConfig:
    return resolve_linear(compose(str(folder), name, overrides), trainer_keys={"probe"})


def _id(cell: Cell) -> str:
    return f"{cell.table}-{cell.column}-{cell.row}"


def test_no_cell_of_the_papers_tables_is_missing() -> None:
    counts = {table: sum(c.table == table for c in CELLS) for table in SECTIONS[::2]}
    # Table 1: 11 rows on CIFAR-100, 12 on Tiny-ImageNet, 14 on ImageNet
    expected = {"Table 1": 37, "Table 2": 12, "Table 3": 3, "Table 4": 6, "Table 5": 28}
    assert counts == expected


@pytest.mark.parametrize("cell", CELLS, ids=_id)
def test_the_training_command_validates_and_its_overrides_land(cell: Cell, recipe: Any) -> None:
    assert cell.train[0] == "mixmask-pretrain"
    folder, name, overrides = _parsed(cell.train)
    assert (folder / f"{name}.yaml").is_file()
    cfg = recipe(folder.name, name, *overrides)
    for override in overrides:
        key, _, value = override.partition("=")
        assert OmegaConf.select(cfg, key) == yaml.safe_load(value)
    mask = cfg.method_kwargs.get("mixmask")
    ours = mask is not None and mask.mask_type == "block" and mask.grid_size < 4
    assert cell.marked is ours
    column = {"C-100": "cifar100", "CIFAR-100": "cifar100", "ImageNet-1K": "imagenet"}
    assert cfg.data.dataset == column.get(cell.column.split()[0], "tiny-imagenet")
    framework = cell.column.split()[-1] if " " in cell.column else "MoCo"
    assert cfg.method == {"MoCo": "mocov2"}.get(framework, framework.lower())


@pytest.mark.parametrize("cell", CELLS, ids=_id)
def test_the_measuring_command_fits_the_training(cell: Cell, recipe: Any) -> None:
    folder, name, overrides = _parsed(cell.train)
    if cell.measure[0] == "mixmask-knn":
        (protocol,) = knn._protocols(knn._parser().parse_args(cell.measure[1:])) or []
        assert (protocol.features, protocol.distance) == ("projector", "cosine")
        assert (protocol.k, protocol.temperature) == ((200,), (0.1,))
        return
    assert cell.measure[0] == "mixmask-linear"
    probe = _probe(*_parsed(cell.measure))
    cfg = recipe(folder.name, name, *overrides)
    assert probe.data.dataset == cfg.data.dataset
    assert probe.backbone == cfg.backbone


@pytest.mark.parametrize("cell", [c for c in CELLS if c.table == "Table 5"], ids=_id)
def test_the_files_head_names_table_5s_figure(cell: Cell) -> None:
    folder, name, _ = _parsed(cell.train)
    metric = "weighted k-NN" if cell.measure[0] == "mixmask-knn" else "linear"
    head = " ".join((folder / f"{name}.yaml").read_text().replace("#", " ").split())
    assert f"paper: {cell.value:.1f} % {metric} top-1 (Table 5" in head
