# SPDX-License-Identifier: MIT
"""Faked cores and Slurm variables; of affinity masks and quotas joblib knows."""

from __future__ import annotations

import joblib
import pytest

from mixmask_solo.data.order import workers
from mixmask_solo.data.order.workers import core_share, worker_count


@pytest.fixture(autouse=True)
def sixteen(monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)


def share(processes: int = 1, **environ: str) -> int:
    return core_share(processes, environ)


def test_processes_share_the_cores_evenly() -> None:
    assert share() == 16
    assert share(3) == 5
    assert share(64) == 1


def test_slurm_tasks_are_training_processes() -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3", "SLURM_NTASKS_PER_NODE": "4"}
    assert share(4, **job) == 3


def test_confined_slurm_tasks_do_not_share_again(monkeypatch) -> None:
    monkeypatch.setattr(joblib, "cpu_count", lambda: 3)
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3", "SLURM_TASKS_PER_NODE": "4(x2)"}
    assert share(4, **job) == 3


def test_one_slurm_task_that_starts_the_processes_itself() -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "12", "SLURM_TASKS_PER_NODE": "1"}
    assert share(4, **job) == 3


def test_slurm_with_cores_of_the_node_alone() -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "8", "SLURM_TASKS_PER_NODE": "2"}
    assert share(2, **job) == 4
    assert share(1, **job | {"SLURM_TASKS_PER_NODE": "1"}) == 8


def test_slurms_variables_outside_of_a_job_are_ignored() -> None:
    assert share(SLURM_CPUS_PER_TASK="2") == 16


def test_auto_leaves_the_cores_to_training_on_the_cpu(monkeypatch):
    monkeypatch.setattr(workers, "core_share", lambda processes: max(1, 16 // processes))
    assert [worker_count("auto", n, on_gpu=False) for n in (1, 2)] == [4, 2]
    assert [worker_count("auto", n, on_gpu=True) for n in (1, 4, 32)] == [16, 4, 1]


def test_a_number_is_taken_as_it_is():
    assert [worker_count(n, on_gpu=False) for n in (0, 3)] == [0, 3]
