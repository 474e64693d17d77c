# SPDX-License-Identifier: MIT
"""What ``mixmask-tables run --slurm`` would submit: once, in order, with the cluster's devices."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli import table_jobs, table_views
from mixmask_solo.cli.compose import compose
from mixmask_solo.cli.job_plan import Work
from mixmask_solo.cli.table_asked import Asked
from mixmask_solo.jobs.options import SlurmOptions
from mixmask_solo.jobs.records import Submission
from mixmask_solo.jobs.standing import Standing
from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.runs.linear import resolve_unread
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.tables.find import choose, find_table
from mixmask_solo.tables.match import Found, Runs
from mixmask_solo.tables.missing import Missing, missing
from mixmask_solo.tables.work import trainings

OPTIONS = SlurmOptions(gpus_per_node=2)


def left(folder: Path, **more: Any) -> list[Missing]:
    cells = choose(find_table("table5"), columns=["C-100 MoCo", "C-100 BYOL"])
    planned = trainings(
        cells,
        (0,),
        compose=compose,
        resolve=lambda cfg: resolve(cfg, here=False),
        resolve_probe=resolve_unread,
        processes=2,
        **more,
    )
    return missing(planned, Runs(()))


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[list[Work]]:
    """What was handed over; all of it waits from then on."""
    given: list[list[Work]] = []

    def submit(folder: Path, options: SlurmOptions, work: Sequence[Work], **_: Any) -> Submission:
        given.append(list(work))
        jobs = [job for part in work for job in part.jobs]
        submission = Submission(folder, work[0].name, jobs)
        folder.mkdir(parents=True)
        submission.save()
        return submission

    def waiting(submission: Submission, jobs: Sequence[Any]) -> list[Standing]:
        return [Standing(state="waiting", what="") for _ in jobs]

    monkeypatch.setattr(table_jobs, "submit_work", submit)
    monkeypatch.setattr(table_jobs, "standings", waiting)
    return given


def test_what_waits_is_not_submitted_again(
    handed: list[list[Work]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    all_ = left(tmp_path)
    rows = [m for m in all_ if m.training.recipe.name in ("mocov2", "byol")]
    for chosen, count in ((rows, 2), (rows, 0), (all_, 6)):  # recipes apart by their names alone
        before = len(handed)
        table_jobs.submit_missing(
            "table5", chosen, OPTIONS, runs=tmp_path / "runs", root=tmp_path / "jobs"
        )
        new = handed[before:]
        assert sum(len(part.jobs) for work in new for part in work if not part.after) == count
    assert "nothing to submit, 2 runs are waiting" in capsys.readouterr().out


def test_a_rehearsal_and_a_site_for_one_machine_can_be_submitted(
    handed: list[list[Work]], tmp_path: Path
) -> None:
    site = {"all": ["accelerator=cpu", "devices=1", "strategy=auto"]}
    found = left(tmp_path, scale=0.02, site=site)
    table_jobs.submit_missing(
        "table5", found, OPTIONS, runs=tmp_path / "runs", root=tmp_path / "jobs"
    )
    [work] = handed
    command = work[0].jobs[0].command
    assert [w for w in command if w.startswith(("devices", "++devices"))] == ["++devices=2"]
    assert "++optimizer.batch_size=32" in command  # 64 in all
    assert "++optimizer.batch_size=64" not in command


def test_a_run_that_somebody_trains_is_left_to_them(
    handed: list[list[Work]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = left(tmp_path)
    now = datetime.now(timezone.utc).isoformat()
    told = {"status": "running", "process": {"pid": 1, "host": "elsewhere"}, "heartbeat": now}
    alive = replace(first, run=Found(RunRecord(tmp_path / "run", told), []))
    table_jobs.submit_missing(
        "table5", [alive, *others], OPTIONS, runs=tmp_path / "runs", root=tmp_path / "jobs"
    )
    assert len(handed[0][0].jobs) == len(others)
    assert f"{first.training.label} is being trained already" in capsys.readouterr().err


def test_a_cell_that_cannot_be_run_here_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # without the localiser's weights
    images = [f"data.{split}_path={tmp_path}" for split in ("train", "val")]
    args = Namespace(datasets=[], rows=["MSCN", "high-pass"], columns=["MoCo v2"], seeds=[0])
    args.scale, args.site, args.runs, args.overrides = 1.0, None, tmp_path, images
    chosen = table_views._runnable(Asked(find_table("saliency"), args))
    assert [training.recipe.name for training in chosen] == ["mocov2_mscn"]
    assert "left out high-pass, MoCo v2: " in capsys.readouterr().err
