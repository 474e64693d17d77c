# SPDX-License-Identifier: MIT
"""Runs are found by what they did: other names, places and devices, the same experiment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.tables.compare import Line, lines
from mixmask_solo.tables.find import choose, find_table
from mixmask_solo.tables.identity import unlike
from mixmask_solo.tables.match import Runs
from mixmask_solo.tables.schema import Sheet, read_table
from mixmask_solo.tables.training import Training
from support.tables import TEXT, Folder

Plan = Callable[..., list[Training]]


def of(sheet: Sheet, planned: list[Training], runs: Runs, row: str, column: str) -> Line:
    found = {(x.cell.row, x.cell.column): x for x in lines(sheet.cells, planned, runs)}
    return found[row, column]


def test_runs_shared_by_cells_are_one(plan: Plan) -> None:
    planned = plan(seeds=(0, 1))
    assert [t.seed for t in planned] == [0, 1, 0, 1]  # two columns, one training
    assert [len(t.cells) for t in planned] == [2, 2, 1, 1]


def test_figures_of_all_seeds_beside_the_papers(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    planned = plan()
    for seed, (knn, linear) in enumerate([(91.0, 95.0), (93.0, 96.0), (92.0, 97.0)]):
        run = folder.run(planned[0], seed, name=f"called-anything-{seed}")
        folder.knn(run, knn)
        folder.probe(planned[0], run, linear)
    line = of(sheet, planned, folder.runs, "nothing", "k-NN")
    assert line.values == {0: 91.0, 1: 93.0, 2: 92.0}
    assert line.ours is not None
    assert (line.ours.mean, line.ours.std, line.ours.n) == (92.0, 1.0, 3)
    assert line.difference == 2.0
    probe = of(sheet, planned, folder.runs, "nothing", "linear")
    assert probe.values == {0: 95.0, 1: 96.0, 2: 97.0}
    assert of(sheet, planned, folder.runs, "MixMask", "k-NN").ours is None


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("optimizer.lr", 0.9, False),
        ("max_epochs", 7, False),
        ("method_kwargs.temperature", 0.9, False),
        ("data.fraction", 0.5, False),
        ("precision", "bf16-mixed", True),
        ("name", "else", True),
        ("checkpoint.dir", "/elsewhere", True),
        ("data.num_workers", 3, True),
        ("backbone.name", "resnet18", False),
        ("limit_val_batches", 2, False),
        ("limit_train_batches", 2, False),
        ("data.image_column", "img", True),
        ("scale", 0.1, True),  # a label; what it shrank would differ
    ],
)
def test_what_tells_an_experiment_from_another(
    sheet: Sheet, plan: Plan, folder: Folder, key: str, value: Any, same: bool
) -> None:
    planned = plan()
    config = {**planned[0].identity, "seed": 3}
    config.pop("processes")
    block, _, name = key.rpartition(".")
    if block:
        config[block] = {**config[block], name: value}
    else:
        config[name] = value
    run = folder.run(planned[0], 3, config=config)
    folder.knn(run, 50.0)
    line = of(sheet, planned, folder.runs, "nothing", "k-NN")
    assert (line.ours is not None) is same
    if key == "precision":
        assert line.notes == ("precision bf16-mixed",)  # told, since it may matter


def test_the_global_batch_counts_not_the_devices(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    planned = plan()
    config = dict(planned[0].identity)
    config.pop("processes")
    batch = config["optimizer"]["batch_size"]
    config["optimizer"] = {**config["optimizer"], "batch_size": batch // 2}
    run = folder.run(planned[0], 0, config={**config, "seed": 0}, processes=2)
    folder.knn(run, 80.0)
    assert of(sheet, planned, folder.runs, "nothing", "k-NN").values == {0: 80.0}


def test_cells_of_two_networks_are_two_runs(sheet: Sheet, plan: Plan) -> None:
    cell = sheet.cells[0]
    other = replace(cell, row="wider", overrides=("backbone.name=resnet18", "backbone.kwargs={}"))
    assert len(plan(cells=[cell, other])) == 2


def test_a_share_of_the_images_is_not_the_data_set(plan: Plan, folder: Folder) -> None:
    cells = choose(find_table("table5"), rows=["nothing"], columns=["C-100 MoCo"])
    [training] = plan(cells=cells)
    told = {"train": {"images": 5_000, "classes": 100}}
    sample = folder.run(training, 0, data=told)
    whole = folder.run(training, 1, data={"train": {"images": 49_990, "classes": 100}})
    runs = folder.runs
    assert [run.record.folder for run in runs.of(training)] == [whole]
    assert runs.left_out == {sample: "5,000 training images, not the 50,000 of cifar100"}


def test_a_probe_on_a_part_of_the_validation_images_does_not_count(
    sheet: Sheet, plan: Plan, folder: Folder
) -> None:
    planned = plan()
    run = folder.run(planned[0], 0)
    probe = folder.probe(planned[0], run, 99.0)
    told = json.loads((probe / "result.json").read_text())
    told["config"]["limit_val_batches"] = 1
    (probe / "result.json").write_text(json.dumps(told))
    assert of(sheet, planned, folder.runs, "nothing", "linear").ours is None


def test_a_k_nn_of_another_run_or_of_other_images_is_not_this_runs(
    sheet: Sheet, plan: Plan, folder: Folder
) -> None:
    planned = plan()
    counts = {"train": {"images": 1442}, "val": {"images": 355}}
    for seed, told in enumerate(
        ({"checkpoint": "/other/run/last.ckpt"}, {"test_images": 10}, {"test_images": 355})
    ):
        run = folder.run(planned[0], seed, data=counts)
        folder.knn(run, 90.0 + seed)
        content = json.loads((run / "knn.json").read_text())
        (run / "knn.json").write_text(json.dumps({**content, **told}))
    assert of(sheet, planned, folder.runs, "nothing", "k-NN").values == {2: 92.0}


def test_a_probe_on_a_sample_is_passed_over(plan: Plan, folder: Folder) -> None:
    cells = choose(find_table("table5"), rows=["nothing"], columns=["C-100 BYOL"])
    planned = plan(cells=cells)
    run = folder.run(planned[0], 0)
    told = {"train": {"images": 50_000}, "val": {"images": 20}}
    probe = folder.probe(planned[0], run, 77.0, data=told)
    runs = folder.runs
    assert runs.of(planned[0])[0].values == {}
    assert runs.left_out == {probe: "20 validation images, not the 10,000 of cifar100"}


def test_images_without_a_name_are_told_apart_by_their_paths(sheet: Sheet, plan: Plan) -> None:
    own = "data.dataset=custom", "data.format=image_folder", "++data.val_path=/v"
    cells = [
        replace(sheet.cells[0], row=path, overrides=(*own, f"++data.train_path={path}"))
        for path in ("/x", "/y")
    ]
    one, other = plan(cells=cells)
    assert unlike(one.identity, other.identity)


def test_a_key_that_the_table_varies_tells_its_cells_apart(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "precisions.yaml"
    rows = TEXT.partition("rows:")[0]
    file.write_text(f"{rows}rows:\n  - {{name: a}}\n  - {{name: b, overrides: [precision=bf16]}}\n")
    assert len(plan(cells=read_table(file).cells)) == 2


def test_a_damaged_record_is_passed_over(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    planned = plan()
    folder.knn(folder.run(planned[0], 0), 80.0)
    broken = [
        folder.run(planned[0], 1, config={"optimizer": {"lr": 1}, "method": "simclr"}),
        folder.run(planned[0], 2, config={**planned[0].identity, "data": "x"}),
    ]
    runs = folder.runs
    assert of(sheet, planned, runs, "nothing", "k-NN").values == {0: 80.0}
    assert set(runs.left_out) == set(broken)


def test_only_the_protocol_of_the_table_counts(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    planned = plan()
    folder.knn(folder.run(planned[0], 0), 80.0, k=200)
    folder.knn(folder.run(planned[0], 1), 81.0, features="projector")
    folder.knn(folder.run(planned[0], 2), 82.0, network="untrained")
    assert of(sheet, planned, folder.runs, "nothing", "k-NN").ours is None


def test_what_was_measured_before_the_end_is_stale(
    sheet: Sheet, plan: Plan, folder: Folder
) -> None:
    planned = plan()
    run = folder.run(planned[0], 0)
    folder.knn(run, 80.0)
    os.utime(run / "last.ckpt", (2_000_000_000, 2_000_000_000))  # trained on since
    early = {"started": "2026-01-01T10:30:00+00:00", "ended": "2026-01-01T10:40:00+00:00"}
    folder.probe(planned[0], run, 70.0, pieces=[early])
    assert of(sheet, planned, folder.runs, "nothing", "k-NN").ours is None
    assert of(sheet, planned, folder.runs, "nothing", "linear").ours is None


def test_a_seed_counts_once_and_unfinished_runs_never(
    sheet: Sheet, plan: Plan, folder: Folder
) -> None:
    planned = plan()
    for name, acc1, end in (("a", 80.0, 11), ("b", 85.0, 15)):
        piece = {"started": "2026-01-01T10:00:00+00:00", "ended": f"2026-01-01T{end}:00:00+00:00"}
        folder.knn(folder.run(planned[0], 0, name=name, pieces=[piece]), acc1)
    folder.knn(folder.run(planned[0], 1, status="interrupted"), 99.0)
    line = of(sheet, planned, folder.runs, "nothing", "k-NN")
    assert line.values == {0: 85.0}
    assert line.states == {"measured": 1, "interrupted": 1}


def test_a_run_that_was_moved_keeps_its_probe(
    sheet: Sheet, plan: Plan, folder: Folder, tmp_path: Path
) -> None:
    planned = plan()
    run = folder.run(planned[0], 0)
    folder.probe(planned[0], run, 77.0)
    run.rename(tmp_path / run.name)
    assert of(sheet, planned, folder.runs, "nothing", "linear").values == {0: 77.0}


def test_scales_never_mix(sheet: Sheet, plan: Plan, folder: Folder) -> None:
    full, small = plan(), plan(scale=0.1)
    folder.knn(folder.run(small[0], 0), 60.0)
    folder.knn(folder.run(full[0], 0), 90.0)
    assert of(sheet, full, folder.runs, "nothing", "k-NN").values == {0: 90.0}
    assert of(sheet, small, folder.runs, "nothing", "k-NN").values == {0: 60.0}
