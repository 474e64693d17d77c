# SPDX-License-Identifier: MIT
"""A run in a job of a cluster: its folder is the job's, it leaves before the end, it tells."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from mixmask_solo.config import ConfigError
from mixmask_solo.jobs.variables import BEAT, DEADLINE, RUN
from mixmask_solo.records.checkpoints import LAST
from mixmask_solo.runs import run as runs
from mixmask_solo.runs.interrupt import Interrupted
from mixmask_solo.runs.pretrain import pretrain
from mixmask_solo.runs.trainer import build_trainer, patience
from support.runs import result, snapshot
from support.tiny import config, interrupted, weights


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(RUN, "20260101-000000-abcdef-3")
    return "tiny-seed-5-20260101-000000-abcdef-3"


def test_a_job_that_starts_again_goes_on_in_its_folder(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path / "runs"))
    assert saved.parent.name == job
    done = pretrain(config(tmp_path / "runs"))  # the very same command
    assert Path(done["directory"]) == saved.parent
    assert len(done["pieces"]) == 2
    assert len(list(saved.parents[1].iterdir())) == 1
    monkeypatch.delenv(RUN)
    whole = Path(pretrain(config(tmp_path / "whole"))["directory"])
    one, other = weights(saved.parent / LAST), weights(whole / LAST)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_job_of_the_same_configuration_is_another_run(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pretrain(config(tmp_path))
    monkeypatch.setenv(RUN, "20260101-000000-abcdef-4")
    second = pretrain(config(tmp_path))
    assert first["directory"] != second["directory"]
    assert first["id"] != second["id"]


def test_a_job_goes_on_from_a_checkpoint_in_its_own_folder(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And once more, where it was started again before and after it had saved anything."""
    monkeypatch.delenv(RUN)
    given = interrupted(monkeypatch, config(tmp_path))
    before = snapshot(given.parent)
    monkeypatch.setenv(RUN, "20260101-000000-abcdef-3")
    resumed = config(tmp_path, resume_from_checkpoint=str(given))
    own = given.parents[1] / job
    own.mkdir()
    first = result(given.parent) | {"id": "of-this-job", "epochs": 0}
    (own / "result.json").write_text(json.dumps(first))
    saved = interrupted(monkeypatch, resumed, 1)
    assert saved.parent == own
    done = pretrain(resumed)
    assert Path(done["directory"]) == own
    assert snapshot(given.parent) == before
    monkeypatch.delenv(RUN)
    whole = Path(pretrain(config(tmp_path / "whole"))["directory"])
    one, other = weights(own / LAST), weights(whole / LAST)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_job_has_nothing_left_to_do(job: str, tmp_path: Path) -> None:
    first = pretrain(config(tmp_path))
    assert pretrain(config(tmp_path)) == {**first, "already": True}


def test_files_that_changed_meanwhile_are_refused_by_key(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path))
    before = saved.read_bytes()
    with pytest.raises(ConfigError, match=r"another configuration \(seed was 5 and is 6\)"):
        pretrain(config(tmp_path, seed=6))
    assert saved.read_bytes() == before


def test_an_attempt_that_still_runs_is_waited_for(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = interrupted(monkeypatch, config(tmp_path))
    monkeypatch.setattr(runs, "_PATIENCE", 1.0)
    with FileLock(saved.parent / ".lock"):
        begun = time.monotonic()
        with pytest.raises(ConfigError, match="is in use by process"):
            pretrain(config(tmp_path))
        assert time.monotonic() - begun >= 1.0
    assert pretrain(config(tmp_path))["status"] == "completed"


def test_a_job_about_to_end_is_left_in_time(
    job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEADLINE, f"{time.time() + 5:.0f}")
    with pytest.raises(Interrupted) as stop:
        pretrain(config(tmp_path))
    assert stop.value.saved
    assert result(Path(str(stop.value.checkpoint)).parent)["status"] == "interrupted"
    monkeypatch.delenv(DEADLINE)
    assert pretrain(config(tmp_path))["status"] == "completed"


def test_a_run_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "beat.json"
    monkeypatch.setenv(BEAT, str(file))
    done = pretrain(config(tmp_path / "runs"))
    told: dict[str, Any] = json.loads(file.read_text())
    assert told["directory"] == done["directory"]
    assert (told["rank"], told["step"], told["steps"]) == (0, done["steps"], done["steps"])
    assert told["progress"] == 2 * done["steps"]
    assert told["seconds_left"] == 0


@pytest.mark.parametrize(
    ("key", "on_cpu", "minutes"), [(None, True, 5.0), (None, False, 30.0), (0.5, False, 0.5)]
)
def test_how_long_processes_wait(key: float | None, on_cpu: bool, minutes: float) -> None:
    cfg = config(Path("x"), **({"timeout": key} if key else {}))
    assert patience(cfg, on_cpu=on_cpu) == timedelta(minutes=minutes)


def test_the_trainer_waits_as_long(tmp_path: Path) -> None:
    cfg = config(tmp_path, strategy="ddp", devices=2, timeout=0.5)
    trainer = build_trainer(cfg, [])
    assert trainer.strategy._timeout == timedelta(seconds=30)  # type: ignore[attr-defined]
