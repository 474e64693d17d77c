# SPDX-License-Identifier: MIT
"""How a job stands, by what Slurm says and what it has said itself."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.jobs import queue
from mixmask_solo.jobs.queue import Queued, queued
from mixmask_solo.jobs.records import Planned, Submission, find, state_file, submissions
from mixmask_solo.jobs.standing import ENDED, standings

RUNNING, PENDING = Queued("RUNNING", ""), Queued("PENDING", "for free nodes")


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    jobs = [Planned("0", [], id="12"), Planned("0.1", [], id="13", after="0")]
    return Submission(tmp_path, "one", jobs, created=0.0)


@pytest.mark.parametrize(
    ("state", "in_queue", "shown"),
    [
        ({}, PENDING, ("waiting", "for free nodes")),
        ({}, RUNNING, ("running", "starting")),
        ({"status": "running"}, RUNNING, ("running", "starting")),
        ({"status": "running"}, Queued("COMPLETING", ""), ("completing", "")),
        # preempted: out of its first attempt, and not ended
        (
            {"status": "interrupted", "outcome": "saved x"},
            PENDING,
            ("waiting", "for free nodes (saved x)"),
        ),
        ({"status": "interrupted"}, RUNNING, ("running", "ending, or starting again")),
        ({"status": "requeued"}, RUNNING, ("running", "ending, or starting again")),
        ({"status": "completed", "outcome": "k-NN 9 %"}, None, ("completed", "k-NN 9 %")),
        (
            {"status": "failed", "outcome": "loss\nis nan", "restarts": 2},
            None,
            ("failed", "loss is nan, started again 2 times"),
        ),
        ({"status": "running"}, None, ("lost", "it has written nothing")),
        ({"status": "requeued"}, None, ("lost", "it has written nothing")),
        ({}, None, ("lost", "it has written nothing")),
    ],
)
def test_states(
    state: dict[str, Any], in_queue: Queued | None, shown: tuple[str, str], submission: Submission
) -> None:
    if state:
        state_file(submission.folder, "0").write_text(json.dumps(state))
    found = standings(submission, submission.jobs, {"12": in_queue} if in_queue else {})[0]
    assert tuple(found) == shown
    assert (found.state in ENDED) is (in_queue is None)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ({"began": time.time() + 5}, "running"),  # this process began before its job told of itself
        ({"began": 100.0}, "lost"),  # the number is another process's by now
        ({"began": 100.0, "host": "elsewhere"}, "lost"),  # where a number says nothing
    ],
)
def test_a_local_job_is_its_own_process(told: dict[str, Any], shown: str, tmp_path: Path) -> None:
    jobs = [Planned("0", [], id=str(os.getpid()))]
    submission = Submission(tmp_path, "one", jobs, created=0.0, local=True)
    state = {"status": "running", "host": socket.gethostname(), **told}
    state_file(tmp_path, "0").write_text(json.dumps(state))
    assert standings(submission, jobs)[0].state == shown


def test_a_local_job_of_another_machine_lives_while_it_tells_of_itself(tmp_path: Path) -> None:
    jobs = [Planned("0", [], id="1")]
    submission = Submission(tmp_path, "one", jobs, created=0.0, local=True)
    state_file(tmp_path, "0").write_text(json.dumps({"status": "running", "host": "elsewhere"}))
    beat = {"time": time.time(), "rank": 0}
    (tmp_path / "beat-0-0.json").write_text(json.dumps(beat))
    assert standings(submission, jobs)[0].state == "running"


def test_what_waits_for_a_job_that_failed_is_not_lost(submission: Submission) -> None:
    state_file(submission.folder, "0").write_text('{"status": "failed"}')
    found = standings(submission, submission.jobs, {})[1]
    assert tuple(found) == ("not started", "the job before it is not completed")


def test_what_was_cancelled_while_it_waited(submission: Submission) -> None:
    submission.jobs[0].cancelled = True
    assert standings(submission, submission.jobs, {})[0].state == "cancelled"


def test_a_running_job_tells_how_far_it_is(submission: Submission) -> None:
    state_file(submission.folder, "0").write_text('{"status": "running", "restarts": 1}')
    beat = {"rank": 0, "directory": str(submission.folder), "epoch": 2, "epochs": 9}
    beat |= {"seconds_left": 3661, "time": time.time() - 300}
    (submission.folder / "beat-0-0.json").write_text(json.dumps(beat))
    (submission.folder / "result.json").write_text('{"images_per_second": 1234.5}')
    [found] = standings(submission, submission.jobs[:1], {"12": RUNNING})
    assert found.what == (
        "epoch 3 of 9, 1:01:01 left, 1,234 images/s, no step for 0:05:00, started again once"
    )


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Slurm that says what it is told to say."""

    def answers(out: str = "", err: str = "", code: int = 0) -> None:
        file = tmp_path / "bin" / "squeue"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\ncat << 'E'\n{out}\nE\necho '{err}' >&2\nexit {code}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{file.parent}:/usr/bin:/bin")

    return answers


def test_what_slurm_still_has(squeue: Any) -> None:
    squeue("Welcome to the cluster\n12_0|RUNNING|None\n12_1|PENDING|Priority\n13|PENDING|None")
    assert queued(["12_0", "12_1"]) == {
        "12_0": Queued("RUNNING", ""),
        "12_1": Queued("PENDING", "behind jobs of higher priority"),
    }
    squeue("12|PENDING|QOSMaxJobsPerUserLimit")
    assert "for a limit of the account" in queued(["12"])["12"].why
    squeue(err="slurm_load_jobs error: Invalid job id specified", code=1)
    assert queued(["12"]) == {}
    assert queued([]) == {}


def test_a_slurm_that_does_not_answer_is_no_end(squeue: Any, monkeypatch: Any) -> None:
    squeue(err="Unable to contact slurm controller", code=1)
    with pytest.raises(ConfigError, match=r"does not tell how jobs stand \(Unable to contact"):
        queued(["12"])
    monkeypatch.setenv("PATH", "")
    assert queued(["12"]) == {}  # there is none
    with pytest.raises(ConfigError, match="there is no scancel here"):
        queue.cancel(["12"])


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"jobs": null}', '{"name": "x", "jobs": [], "created": "soon"}']
)
def test_a_damaged_folder_stands_in_nobodys_way(content: str, tmp_path: Path) -> None:
    for name in ("whole", "damaged"):
        (tmp_path / name).mkdir()
    Submission(tmp_path / "whole", "one", [Planned("0", [], id="12")]).save()
    (tmp_path / "damaged" / "submission.json").write_text(content)
    assert [found.name for found in submissions(tmp_path)] == ["one"]
    assert find(tmp_path, "12")[0].folder == tmp_path / "whole"
    with pytest.raises(ConfigError, match="is no folder of a submission"):
        find(tmp_path, str(tmp_path / "damaged"))


def test_keys_of_another_version_are_left_out(tmp_path: Path) -> None:
    submission = Submission(tmp_path, "one", [Planned("0", [])])
    submission.save()
    file = tmp_path / "submission.json"
    content = json.loads(file.read_text()) | {"new": 1}
    content["jobs"][0]["newer"] = 2
    file.write_text(json.dumps(content))
    assert Submission.load(tmp_path) == submission
