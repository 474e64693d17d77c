# SPDX-License-Identifier: MIT
"""When ``mixmask-knn`` tells a run what it found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mixmask_solo.evaluation.knn_record import record_knn
from mixmask_solo.evaluation.run_knn import MOCO, evaluate_knn
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.records.registry.record import RESULT


@pytest.fixture(scope="module")
def found(run_folder: Path) -> dict[str, Any]:
    return evaluate_knn(run_folder, device="cpu")


@pytest.fixture
def run(run_folder: Path, tmp_path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What was found, of a run of this test's own with a record."""
    folder = Path(shutil.copytree(run_folder, tmp_path / "run"))
    (folder / RESULT).write_text(json.dumps({"status": "interrupted"}))
    return {**found, "checkpoint": str(folder / LAST)}


def told(found: dict[str, Any]) -> Any:
    return json.loads((Path(found["checkpoint"]).parent / RESULT).read_text()).get("knn")


def test_the_last_checkpoint_on_its_own_images(run: dict[str, Any]) -> None:
    assert run["own_images"]
    assert record_knn(run)
    assert told(run) == {
        key: run["rows"][0][key]
        for key in ("features", "distance", "k", "temperature", "acc1", "acc5")
    }
    assert told(run)["acc1"] == run["trained"]


def test_other_images_are_not_the_runs(run: dict[str, Any], run_folder: Path) -> None:
    other = evaluate_knn(run_folder, device="cpu", data={"val_path": "elsewhere"})
    assert not other["own_images"]  # they were asked for, whatever they are
    assert not record_knn({**other, "checkpoint": run["checkpoint"]})
    assert told(run) is None


def test_its_own_images_asked_for_are_its_own(run_folder: Path) -> None:
    asked = {"dataset": "digits", "num_workers": 0}  # as a table's site says where they lie
    assert evaluate_knn(run_folder, device="cpu", data=asked)["own_images"]


def test_a_run_that_has_gone_on_meanwhile(run: dict[str, Any]) -> None:
    with Path(run["checkpoint"]).open("ab") as file:
        file.write(b"more")
    assert not record_knn(run)
    assert told(run) is None


def test_a_run_that_somebody_trains(run: dict[str, Any]) -> None:
    with FileLock(Path(run["checkpoint"]).parent / ".lock"):
        assert not record_knn(run)
    assert told(run) is None


def test_another_network_or_protocol(run: dict[str, Any], run_folder: Path) -> None:
    assert not record_knn({**run, "evaluate": "momentum"})
    moco = evaluate_knn(run_folder, device="cpu", protocols=[MOCO])
    assert not record_knn({**moco, "checkpoint": run["checkpoint"]})
    assert told(run) is None
