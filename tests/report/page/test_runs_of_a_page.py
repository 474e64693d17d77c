# SPDX-License-Identifier: MIT
"""Which runs a page shows, which belong together, and in what they differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.report.curves import curves
from mixmask_solo.report.page.data import differing, groups, read
from mixmask_solo.report.page.results import comparison, numbers
from support.pages import run_folder


def test_runs_that_differ_in_seed_and_place_alone_are_a_group(tmp_path: Path) -> None:
    same = [run_folder(tmp_path / f"{seed}" / "run", seed=seed) for seed in (10, 2)]
    finer = run_folder(tmp_path / "finer", blocks={"mixmask": {"grid_size": 4, "prob": 1.0}})
    first, second = groups(read([*same, finer]))
    assert (first.label, first.seeds) == ("simclr-mixmask · grid_size 2", "seeds 2, 10")
    assert (second.label, second.seeds) == ("simclr-mixmask · grid_size 4", "seed 1")
    assert numbers(first)[0].value == "86.00 ± 5.66"


def test_a_block_that_a_run_has_not_differs_as_a_whole(tmp_path: Path) -> None:
    mixed, plain = run_folder(tmp_path / "a"), run_folder(tmp_path / "b", name="p", blocks={})
    assert differing(read([mixed, plain])) == {
        "name": ["simclr-mixmask", "p"],
        "method_kwargs.mixmask": ["grid_size 2, prob 1", None],
    }


def test_a_probe_counts_for_the_run_whose_network_it_took(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    probe = run_folder(
        tmp_path / "probe",
        config={"name": "sgd", "pretrained_feature_extractor": str(run / "last.ckpt"), "seed": 1},
        metrics={"val_acc1": 77.0},
        knn=None,
    )
    runs = read([run, probe])
    found = groups(runs)
    told = {number.name: number.value for number in numbers(found[0], runs)}
    assert told["linear probe"] == "77.00"
    assert told["k-NN"] == "81.00"
    table = comparison(found, runs)
    assert table.rows[1][table.header.index("linear accuracy")] == "77.00 %"


def test_a_figure_of_a_part_of_the_images_says_so(tmp_path: Path) -> None:
    config = {"name": "d", "detector": {"name": "c4"}, "seed": 1}
    told = []
    for limit in (None, 4, 1.0):
        metrics = {"val_box_ap": 1.0}
        more = config | {"limit_val_batches": limit}
        folder = run_folder(tmp_path / str(limit), config=more, metrics=metrics, knn=None)
        [found] = numbers(groups(read([folder]))[0])
        told.append("a part of the images: limit_val_batches 4" in found.detail)
    assert told == [False, True, False]


def test_what_is_no_run_is_told_by_name(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "runs" / "a")
    torn = run_folder(tmp_path / "torn")
    (torn / "result.json").write_text((torn / "result.json").read_text()[:99])
    damaged = run_folder(tmp_path / "damaged")
    (damaged / "metrics.csv").write_text("epoch,x\n1,2\n")
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "result.json").write_text((run / "result.json").read_text())
    for wrong, said in [
        ([tmp_path / "no"], r"no is no run: it has no result\.json"),
        ([tmp_path / "runs"], r"runs is no run, it holds 1: give .*a, "),
        ([torn], r"torn/result\.json cannot be read"),
        ([damaged], r"damaged/metrics\.csv cannot be read: KeyError 'step'"),
        ([run, run.parent / "." / "a"], "a is given twice"),
        ([run, copy], "copy is a copy of"),
    ]:
        with pytest.raises(ConfigError, match=said):
            read(wrong)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("inf,0,1.0", "OverflowError"),
        (f"1,0,{'9' * 200_000}", "Error field larger than"),
        ("1,0,1.0,2.0", "TypeError"),
        ("1,0,x", "ValueError"),
    ],
)
def test_damaged_metrics_are_told_by_name(tmp_path: Path, row: str, said: str) -> None:
    folder = run_folder(tmp_path / "a")
    file = folder / "metrics.csv"
    file.write_text(f"step,epoch,train_loss\n{row}\n")
    with pytest.raises(ConfigError, match=rf"a/metrics\.csv cannot be read: {said}"):
        read([folder])
    with pytest.raises(ConfigError, match=rf"a/metrics\.csv cannot be read: {said}"):
        curves({"a": file}, tmp_path / "a.png")


def test_a_run_that_has_only_begun_is_a_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a")
    (folder / "metrics.csv").write_text("step,epoch,train_loss_step\n4,0,3.5\n9,0,3.")
    [run] = read([folder])
    assert run.columns == {"train_loss_step": {4: 3.5}}  # the last row is being written
    assert run.per_epoch == 10  # images / (batch × processes)
    (folder / "metrics.csv").unlink()
    told = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({"status": told["status"]}))
    [run] = read([folder])
    assert (run.columns, run.per_epoch) == ({}, None)
