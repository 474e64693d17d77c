# SPDX-License-Identifier: MIT
"""Cells that a detector measures: several figures of one run, on images of their own."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli import table_jobs
from mixmask_solo.cli.table_asked import Asked, planned
from mixmask_solo.config import ConfigError
from mixmask_solo.jobs.options import SlurmOptions
from mixmask_solo.runs import detect
from mixmask_solo.tables.identity import unlike
from mixmask_solo.tables.missing import missing
from mixmask_solo.tables.schema import Sheet, read_table
from mixmask_solo.tables.training import Evaluation, Training
from support.tables import TEXT, Folder

HOW = "command: mixmask-detect, recipe: detect/voc/c4, dataset: voc"
HOW += ", overrides: [optimizer.batch_size=16]"
PROTOCOLS = f"""
  ap: {{{HOW}, metric: AP, value: val_voc_ap}}
  ap50: {{{HOW}, metric: AP50, value: val_voc_ap50}}
"""
AP50 = "{name: AP50, dataset: digits, recipe: pretrain/digits/simclr, protocol: ap50}"
WITH = (
    TEXT.replace("\ncolumns:", f"{PROTOCOLS}columns:")
    .replace("name: linear,", "name: AP,")
    .replace("protocol: adam", "protocol: ap")
    .replace("\nrows:", f"\n  - {AP50}\nrows:")
    .replace("[90, 95.5]", "[90, 57.4, 82.5]")
    .replace("[91.25, null]", "[91.25, null, null]")
)
OTHERS = {"mixmask-detect": detect.resolve_unread}
VOC07, BOTH = "/voc/VOC2007", ["/voc/VOC2007", "/voc/VOC2012"]
SITE = {"voc": [f"data.train_path=[{','.join(BOTH)}]", f"data.val_path={VOC07}"]}
COUNTS = {"train": {"images": 16_551}, "val": {"images": 4_952}}


@pytest.fixture
def sheet(tmp_path: Path) -> Sheet:
    (tmp_path / "found.yaml").write_text(WITH)
    return read_table(tmp_path / "found.yaml")


@pytest.fixture
def training(plan: Callable[..., list[Training]], sheet: Sheet) -> Training:
    return plan(cells=sheet.cells, others=OTHERS, site=SITE)[0]


def of(training: Training) -> Evaluation:
    [found] = [e for e in training.evaluations if e.wide]
    return found


def measured(folder: Folder, training: Training, **more: Any) -> dict[str, float]:
    """What the cells get from a detector's run, by their columns."""
    told = {"metrics": {"val_voc_ap": 55.5, "val_voc_ap50": 81.25}, "data": COUNTS, **more}
    folder.probe(training, folder.run(training, 0), 0.0, **told)
    values = folder.runs.of(training)[0].values
    return {name.rpartition("/")[2]: value for name, value in values.items()}


def test_two_figures_are_of_one_run(training: Training, folder: Folder) -> None:
    assert [cell.column for cell in of(training).cells] == ["AP", "AP50"]
    assert measured(folder, training) == {"AP": 55.5, "AP50": 81.25}
    assert [e.wide for e in missing([training], folder.runs)[0].evaluations] == [False]


def test_the_command_has_the_images_of_its_own_data_set(training: Training) -> None:
    command = of(training).command(Path("runs"), "a.ckpt", "a")
    assert command[0] == "mixmask-detect"
    assert {*SITE["voc"], "optimizer.batch_size=16"} <= {*command}
    assert not any("VOC" in word for word in training.command(Path("runs")))


def test_a_step_may_be_divided_over_time(
    plan: Callable[..., list[Training]], sheet: Sheet, folder: Folder
) -> None:
    site = {"voc": [*SITE["voc"], "accumulate_grad_batches=4", "devices=2"]}
    training = plan(cells=sheet.cells, others=OTHERS, site=site)[0]
    words = of(training).overrides
    assert [w for w in words if "batch" in w][1:] == [
        "accumulate_grad_batches=4",
        "++optimizer.batch_size=2",
    ]
    whole = plan(cells=sheet.cells, others=OTHERS, site=SITE)[0]
    assert not unlike(of(training).identity or {}, of(whole).identity or {})
    odd = {"voc": [*SITE["voc"], "accumulate_grad_batches=3"]}
    with pytest.raises(ConfigError, match="among 1 processes in 3 batches a step: choose another"):
        plan(cells=sheet.cells, others=OTHERS, site=odd)
    with pytest.raises(ConfigError, match="accumulate_grad_batches=2 for every run would make"):
        plan(cells=sheet.cells, others=OTHERS, site={"digits": ["accumulate_grad_batches=2"]})


def test_one_folder_is_no_07_plus_12(
    plan: Callable[..., list[Training]], sheet: Sheet, training: Training, folder: Folder
) -> None:
    with pytest.raises(ConfigError, match=r"data\.train_path=/voc/VOC2007 for every run would"):
        plan(cells=sheet.cells, others=OTHERS, site={"voc": [f"data.train_path={VOC07}"]})
    of(training).identity["data"]["train_path"] = VOC07  # type: ignore[index]
    of(training).identity["data"]["mean"] = [0.5, 0.5, 0.5]  # type: ignore[index]
    found = plan(cells=sheet.cells, others=OTHERS, site=SITE)[0]
    folder.probe(training, folder.run(found, 0), 0.0, metrics={"val_voc_ap": 50.0})
    assert folder.runs.of(found)[0].values == {}


@pytest.mark.parametrize(
    ("dataset", "sets", "train", "val", "counts"),
    [
        ("voc", ["trainval", "test"], 16_551, 4_952, True),
        ("voc", ["trainval", "test"], 5_011, 4_952, False),
        ("voc", ["trainval", "test"], 16_551, 200, False),
        ("voc", ["train", "val"], 17, 5, True),  # of a table of one's own
        ("coco", ["trainval", "test"], 117_266, 5_000, True),
        ("coco", ["trainval", "test"], 118_287, 5_000, False),  # with images without objects
        ("shapes", ["trainval", "test"], 3, 2, True),
    ],
)
def test_how_many_images_there_are_is_known(
    dataset: str,
    sets: list[str],
    train: int,
    val: int,
    counts: bool,
    training: Training,
    folder: Folder,
) -> None:
    block = of(training).identity["data"]  # type: ignore[index]
    block |= {"dataset": dataset, "train_sets": sets[:1], "val_sets": sets[1:]}
    data = {"train": {"images": train}, "val": {"images": val}}
    assert bool(measured(folder, training, data=data)) is counts
    told = " ".join(folder.runs.left_out.values())
    found = folder.runs
    found.of(training)
    assert bool([*found.left_out]) is not counts, told


def test_a_rehearsal_has_fewer_steps_and_images_a_step(
    plan: Callable[..., list[Training]], sheet: Sheet
) -> None:
    found = of(plan(cells=sheet.cells, others=OTHERS, site=SITE, scale=0.1)[0])
    words = dict(word.lstrip("+").split("=", 1) for word in found.overrides)
    wanted = {"max_steps": "2400", "eval_every": "2400", "scheduler.milestones": "[1800,2200]"}
    wanted |= {"scheduler.warmup_steps": "10", "precise_bn": "20"}
    wanted |= {"optimizer.batch_size": "4", "optimizer.lr": "0.005"}  # of 16 and 0.02
    assert wanted.items() <= words.items()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", value: val_voc_ap50", "", "ap50.value is val_acc1: give a figure of mixmask-detect, s"),
        ("recipe: detect/voc/c4, ", "", r"ap.recipe is missing: give the detector's, as detect/c"),
        ("k: 20,", "k: 20, dataset: voc,", "knn.dataset is voc: mixmask-knn measures on the imag"),
    ],
)
def test_wrong_protocols(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in WITH
    (tmp_path / "wrong.yaml").write_text(WITH.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        read_table(tmp_path / "wrong.yaml")


def test_a_job_that_detects_has_the_processes_of_training(
    sheet: Sheet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(table_jobs, "submit_work", lambda folder, options, work: given.extend(work))
    nothing: dict[str, list[str]] = {"datasets": [], "rows": [], "columns": []}
    args = Namespace(**nothing, overrides=[], seeds=[0, 1], scale=1.0, site=None, runs=tmp_path)
    options = SlurmOptions(gpus_per_node=4)
    left = missing(planned(Asked(sheet, args), processes=4), Folder(tmp_path).runs)
    table_jobs.submit_missing("found", left, options, runs=tmp_path, root=tmp_path / "jobs")
    train, knn, found = given
    assert [len(part.jobs) for part in given] == [4, 4, 2]
    assert [part.options.processes * part.options.nodes for part in given] == [4, 1, 4]
    assert [job.after for job in found.jobs] == ["0", "1"]
    assert all(train.jobs[int(j.after)].label == j.label for j in (*knn.jobs, *found.jobs))
    assert {"++devices=4", "++optimizer.batch_size=4"} <= {*found.jobs[0].command}
