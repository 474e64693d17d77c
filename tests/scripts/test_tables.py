# SPDX-License-Identifier: MIT
"""scripts/tables: every cell composes, and its configuration is what the paper's cell says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.cli.compose import compose
from mixmask_solo.runs import detect
from mixmask_solo.runs.linear import resolve_unread
from mixmask_solo.tables.find import find_table, names
from mixmask_solo.tables.head import head_of
from mixmask_solo.tables.schema import Cell
from mixmask_solo.tables.sections import with_sections

SCRIPTS = Path(__file__).parents[2] / "scripts"
SHEETS = {name: find_table(name) for name in names()}
CELLS = [cell for sheet in SHEETS.values() for cell in sheet.cells]
ADIOS = 6  # slots
TRANSFER = ("MoCo Caltech", "SimCLR Caltech", "MoCo Flowers", "SimCLR Flowers")


def _id(cell: Cell) -> str:
    return cell.id


def test_no_cell_of_the_papers_is_missing() -> None:
    counts = {name: len(sheet.cells) for name, sheet in SHEETS.items()}
    # Table 1: 11 rows on CIFAR-100, 12 on Tiny-ImageNet, 14 on ImageNet; detection: 9 columns
    paper = {"table1": 37, "table2": 12, "table3": 3, "table4": 6, "table5": 28}
    others = {"figure5": 15, "detection": 27, "saliency": 36, "saliency_detection": 108, "mscn": 2}
    assert counts == {**paper, **others}


@pytest.mark.parametrize("cell", CELLS, ids=_id)
def test_a_cell_trains_what_it_says_and_is_measured_on_that(cell: Cell, recipe: Any) -> None:
    cfg = recipe(cell.recipe.parent.name, cell.recipe.name, *cell.overrides)
    _check_measurement(cell, cfg)
    if cell.table.startswith("table"):
        _check_framework(cell, cfg)
    for override in cell.overrides:
        key, _, value = override.lstrip("+").partition("=")
        assert OmegaConf.select(cfg, key) == yaml.safe_load(value)
    assert cfg.data.dataset == cell.dataset
    mask = cfg.method_kwargs.get("mixmask")
    ours = mask is not None and mask.mask_type == "block" and mask.grid_size < 4
    assert ("†" in cell.figure.mark) is ours


def _check_framework(cell: Cell, cfg: DictConfig) -> None:
    """A column is the framework that it is called after."""
    word = cell.column.split()[-1] if " " in cell.column else "MoCo"
    framework = "MoCo" if word == "epochs" else word
    assert cfg.method == {"MoCo": "mocov2"}.get(framework, framework.lower())
    blocks = {"mixmask", "unmix", "mscn"} & cfg.method_kwargs.keys()
    rows = {"nothing": set(), "MoCo v2": set(), "Un-Mix": {"unmix"}, "MSCN": {"mscn"}}
    rows |= {"MixMask": {"mixmask"}, "MixMask*": {"mixmask", "unmix"}}
    if cell.row in rows:
        assert blocks == rows[cell.row]
    else:
        assert "mixmask" in blocks


def _check_measurement(cell: Cell, cfg: DictConfig) -> None:
    p = cell.protocol
    if p.command == "mixmask-knn":
        assert (p.features, p.k, p.temperature) == ("projector", 200, 0.1)
    elif p.command == "mixmask-linear":
        probe = _probe(cell)
        assert probe.data.dataset == cfg.data.dataset or cell.column.startswith(TRANSFER)
        assert probe.backbone.name == cfg.backbone.name
    else:
        assert p.command == "mixmask-detect"
        _check_detection(cell)


def _check_detection(cell: Cell) -> None:
    """R50-C4 of 16 images a step, the figure that the column is called after."""
    cfg = _resolved_detector(cell.probe, tuple(cell.protocol.overrides))
    onto = "voc" if "VOC" in cell.column else "coco"
    assert (cell.protocol.dataset, cfg.data.dataset) == (onto, onto)
    steps, first, second = {"voc": (24_000, 18_000, 22_000), "coco": (90_000, 60_000, 80_000)}[onto]
    assert (cfg.max_steps, cfg.scheduler.milestones) == (steps, [first, second])
    assert (cfg.devices, cfg.optimizer.batch_size, cfg.optimizer.lr) == (1, 16, 0.02)
    assert (cfg.detector.name, cfg.detector.mask) == ("c4", onto == "coco")
    kind = "voc" if onto == "voc" else cell.column.split()[-2]
    assert cell.protocol.value == f"val_{kind}_{cell.column.split()[-1].lower()}"


@cache
def _resolved_detector(file: Path, overrides: tuple[str, ...]) -> DictConfig:
    given = [*overrides, "pretrained_feature_extractor=x.ckpt"]
    return detect.resolve_unread(compose(str(file.parent), file.name, given), visible=8)


def _probe(cell: Cell) -> DictConfig:
    assert cell.probe is not None
    return _resolved_probe(cell.probe, tuple(cell.protocol.overrides))


@cache
def _resolved_probe(file: Path, overrides: tuple[str, ...]) -> DictConfig:
    given = [*overrides, "pretrained_feature_extractor=x.ckpt"]
    return resolve_unread(compose(str(file.parent), file.name, given), visible=8)


@pytest.mark.parametrize("cell", SHEETS["table5"].cells, ids=_id)
def test_the_files_head_names_table_5s_figure(cell: Cell) -> None:
    metric = cell.protocol.metric.removesuffix(" top-1")
    outcome = " ".join(
        head_of(cell.recipe.with_name(f"{cell.recipe.name}.yaml"))["Outcome"].split()
    )
    assert f"paper: {cell.figure.value:.1f} % {metric} top-1 (Table 5" in outcome


def test_table_5_and_4_have_the_papers_figures() -> None:
    five = [[c.figure.value for c in SHEETS["table5"].cells if c.row == r.name]
            for r in SHEETS["table5"].rows]  # fmt: skip
    assert five == [
        [65.7, 66.7, 66.8, 67.1, 42.8, 51.4, 67.5],
        [68.6, 70.0, 70.0, 69.8, 45.3, 52.9, 68.5],
        [68.4, 69.8, 71.9, 69.2, 47.4, 50.8, 69.2],
        [70.0, 70.6, 72.1, 70.0, 47.9, 53.7, 69.5],
    ]
    four = [(c.row, c.column, c.figure.value) for c in SHEETS["table4"].cells]
    assert four == [
        *(("MoCo v2", "200 epochs", 67.5), ("MoCo v2", "800 epochs", 71.1)),
        *(("MSCN", "200 epochs", 68.2), ("MSCN", "800 epochs", 71.5)),
        *(("MixMask", "200 epochs", 69.2), ("MixMask", "800 epochs", 71.7)),
    ]


def test_what_could_not_be_read_says_so() -> None:
    statuses = {c.row: c.figure.status for c in SHEETS["table3"].cells}
    unread = "unreadable header"
    assert statuses == {"0": unread, "0.5": "likely", "1": unread}
    assert {c.figure.status for c in SHEETS["figure5"].cells} == {"none"}
    assert {c.figure.status for c in SHEETS["table5"].cells} == {"published"}


@pytest.mark.parametrize("cell", SHEETS["saliency"].cells, ids=_id)
def test_the_saliency_papers_rows(cell: Cell, recipe: Any) -> None:
    cfg = recipe("imagenet-100", cell.recipe.name, *cell.overrides)
    kind, _, transfer = cell.column.partition(" ")
    name = {"MoCo": "mocov2", "SimCLR": "simclr"}[kind]
    onto = {"Caltech": "caltech101", "Flowers": "flowers102"}.get(transfer)
    assert (cfg.method, cfg.backbone.name, cfg.max_epochs) == (name, "resnet50", 200)
    adios = cell.row.startswith("ADIOS")  # its rows are the vanilla recipes with a block
    assert cfg.method_kwargs.get("adios", {}).get("slots") == (ADIOS if adios else None)
    fills = {"high-pass": "high_pass", "strong blur": "blur", "mean": "mean"}
    assert (cfg.method_kwargs.get("saliency") or {}).get("fill") == fills.get(cell.row)
    batch = cfg.optimizer.batch_size * len(cfg.devices)
    rates = {"mocov2": (128, 0.015, "sgd"), "simclr": (256, 0.3, "lars")}
    assert (batch, pytest.approx(cfg.optimizer.lr), cfg.optimizer.name) == rates[name]
    head = head_of(cell.recipe.with_name(f"{cell.recipe.name}.yaml"))["Outcome"]
    other = cell.row in ("strong blur", "mean")  # the head tells the file's own filling
    assert adios or other or onto or f"{cell.figure.value:.1f} %" in " ".join(head.split())
    probe = _probe(cell)
    assert probe.data.dataset == (onto or "imagenet100")
    assert cell.protocol.value == ("val_mean_class_acc1" if onto else "val_acc1")
    settings = (probe.optimizer.lr, probe.scheduler.name, probe.max_epochs)
    wanted = {"mocov2": (30.0, "step", 100), "simclr": (1.0, "cosine", 100)}
    assert settings == wanted[name]


def test_the_readme_has_the_tables_as_they_are() -> None:
    text = (SCRIPTS / "README.md").read_text("utf-8")
    assert with_sections(text) == text, "make tables"


def test_the_saliency_papers_detectors() -> None:
    cells = {(c.row, c.column): c for c in SHEETS["saliency_detection"].cells}
    assert cells["high-pass", "MoCo VOC AP50"].figure.value == 77.66
    assert cells["MSCN", "MoCo box AP75"].figure.value == 42.20
    assert cells["ADIOS, 6 slots", "SimCLR mask AP"].figure.value == 33.94
    assert cells["mean", "SimCLR mask AP75"].figure.value == 34.54
    for (row, column), cell in cells.items():
        kind = column.split()[0]
        pretrained = next(
            c for c in SHEETS["saliency"].cells if c.row == row and c.column.startswith(kind)
        )
        same = ("recipe", "overrides", "dataset")
        assert all(getattr(cell, key) == getattr(pretrained, key) for key in same)


def test_the_saliency_papers_figures() -> None:
    cells = SHEETS["saliency"].cells
    rows = {row.name: [c.figure.value for c in cells if c.row == row.name]
            for row in SHEETS["saliency"].rows}  # fmt: skip
    assert rows["nothing"] == [68.22, 69.77, 81.87, 78.20, 88.39, 85.21]
    assert rows["MSCN"] == [70.28, 77.18, 84.13, 86.99, 90.10, 91.08]
    assert rows["high-pass"] == [73.80, 77.90, 84.91, 87.04, 90.95, 90.71]
    assert rows["mean"] == [70.84, 77.36, 82.68, 83.55, 90.83, 90.83]
