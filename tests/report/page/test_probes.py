# SPDX-License-Identifier: MIT
"""The linear probe's number: which probes it is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.report.page.data import groups, read
from mixmask_solo.report.page.results import Number, comparison, numbers
from support.pages import run_folder

FIRST = "2026-01-02T03:00:00+00:00"
ENDED = "2026-01-02T04:00:00+00:00"
LATER = "2026-01-02T05:00:00+00:00"
LATEST = "2026-01-02T06:00:00+00:00"


def pretrained(folder: Path, seed: int = 1) -> Path:
    return run_folder(folder, seed=seed, pieces=[{"started": FIRST, "ended": ENDED}])


def probe(
    folder: Path,
    checkpoint: Path | str,
    acc1: float,
    *,
    started: str = LATER,
    ended: str = LATER,
    status: str = "completed",
    **config: Any,
) -> Path:
    config = {"name": "sgd", "seed": 1, "optimizer": {"lr": 30.0}, **config}
    return run_folder(
        folder,
        status=status,
        pieces=[{"started": started, "ended": ended}],
        config={"pretrained_feature_extractor": str(checkpoint), **config},
        metrics={"val_acc1": acc1},
        knn=None,
    )


def told(*folders: Path) -> Number | None:
    """Of the first group."""
    runs = read(folders)
    found = {number.name: number for number in numbers(groups(runs)[0], runs)}
    return found.get("linear probe")


@pytest.mark.parametrize(
    ("checkpoint", "more"),
    [
        ("last.ckpt", {"status": "interrupted"}),
        ("last.ckpt", {"status": "running"}),
        ("last.ckpt", {"finetune": True}),
        ("last.ckpt", {"started": FIRST}),  # of what was the last one then
        ("simclr-ep2.ckpt", {}),
        ("../other/last.ckpt", {}),
    ],
)
def test_a_probe_that_is_not_of_the_whole_run_does_not_count(
    tmp_path: Path, checkpoint: str, more: dict[str, Any]
) -> None:
    run = pretrained(tmp_path / "run")
    right = probe(tmp_path / "right", run / "last.ckpt", 77.0)
    wrong = probe(tmp_path / "wrong", run / checkpoint, 99.0, ended=LATEST, **more)
    assert told(run, wrong) is None
    found = told(run, wrong, right)
    assert found is not None
    assert found.value == "77.00"


def test_of_several_probes_of_a_run_the_latest_counts(tmp_path: Path) -> None:
    runs = [pretrained(tmp_path / f"run-{seed}", seed) for seed in (1, 2)]
    probes = [
        probe(tmp_path / "c", runs[0] / "last.ckpt", 70.0, ended=LATEST),
        probe(tmp_path / "a", runs[0] / "last.ckpt", 10.0, optimizer={"lr": 1.0}),
        probe(tmp_path / "b", runs[1] / "last.ckpt", 72.0, seed=5, name="other"),
    ]
    found = told(*runs, *probes)
    assert found is not None
    assert (found.value, found.detail) == ("71.00 ± 1.41", "mean ± sample std of 2 runs")


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"optimizer": {"lr": 3.0}}, "optimizer.lr"),
        ({"max_epochs": 5, "limit_val_batches": 2}, "limit_val_batches and max_epochs"),
    ],
)
def test_probes_that_differ_have_no_mean(tmp_path: Path, other: dict[str, Any], named: str) -> None:
    runs = [pretrained(tmp_path / f"run-{seed}", seed) for seed in (1, 2)]
    probes = [
        probe(tmp_path / "a", runs[0] / "last.ckpt", 70.0),
        probe(tmp_path / "b", runs[1] / "last.ckpt", 72.0, **other),
    ]
    found = told(*runs, *probes)
    assert found is not None
    assert (found.value, found.unit) == ("–", "")
    assert found.detail == f"no mean: the probes of 2 runs differ in {named}"
    shown = read([*runs, *probes])
    table = comparison(groups(shown), shown)
    assert table.rows[0][table.header.index("linear probe")] == "–"


def test_a_run_that_was_moved_keeps_its_probe_and_takes_no_others(tmp_path: Path) -> None:
    run = pretrained(tmp_path / "here" / "run")
    moved = probe(tmp_path / "p", "/gone/run/last.ckpt", 70.0)
    found = told(run, moved)
    assert found is not None
    assert found.value == "70.00"
    twin = pretrained(tmp_path / "there" / "run", seed=2)
    own = probe(tmp_path / "q", twin / "last.ckpt", 72.0)
    found = told(run, twin, moved, own)  # that it is of one of the two is all that is known
    assert found is not None
    assert found.value == "72.00"
