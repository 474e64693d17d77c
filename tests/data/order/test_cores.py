# SPDX-License-Identifier: MIT
"""Faked control groups, Slurm variables and affinity masks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mixmask_solo.data.order.cores import core_share


@pytest.fixture(autouse=True)
def sixteen(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)


def share(root: Path, processes: int = 1, **environ: str) -> int:
    return core_share(processes, root=root, environ=environ)


def place(root: Path, name: str, text: str) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_without_limits_the_affinity_mask_counts(tmp_path) -> None:
    assert share(tmp_path) == 16
    assert share(tmp_path, 3) == 5
    assert share(tmp_path, 64) == 1


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("400000 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("max 100000", 16)],
)
def test_version_2_quota(tmp_path, limit, cores) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/system.slice/job\n")
    place(tmp_path, "sys/fs/cgroup/system.slice/job/cpu.max", limit + "\n")
    assert share(tmp_path) == cores


def test_the_narrowest_group_above_counts(tmp_path) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/a/b/c\n")
    place(tmp_path, "sys/fs/cgroup/a/cpu.max", "300000 100000")
    place(tmp_path, "sys/fs/cgroup/a/b/cpu.max", "max 100000")
    place(tmp_path, "sys/fs/cgroup/a/b/c/cpu.max", "800000 100000")
    assert share(tmp_path) == 3
    assert share(tmp_path, 2) == 1


def test_a_container_sees_its_own_group_at_the_top(tmp_path) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/docker/0123\n")
    place(tmp_path, "sys/fs/cgroup/cpu.max", "600000 100000")
    assert share(tmp_path) == 6


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
def test_version_1_quota(tmp_path, mount) -> None:
    place(tmp_path, "proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/x\n")
    place(tmp_path, f"sys/fs/cgroup/{mount}/x/cpu.cfs_quota_us", "700000\n")
    place(tmp_path, f"sys/fs/cgroup/{mount}/x/cpu.cfs_period_us", "100000\n")
    place(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us", "-1\n")
    place(tmp_path, f"sys/fs/cgroup/{mount}/cpu.cfs_period_us", "100000\n")
    assert share(tmp_path) == 7


@pytest.mark.parametrize("text", ["", "nonsense\n", "400000\n", "400000 0\n"])
def test_odd_files_are_no_limit(tmp_path, text) -> None:
    place(tmp_path, "proc/self/cgroup", "0::/\n")
    place(tmp_path, "sys/fs/cgroup/cpu.max", text)
    assert share(tmp_path) == 16


def test_slurm_tasks_are_training_processes(tmp_path) -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3", "SLURM_NTASKS_PER_NODE": "4"}
    assert share(tmp_path, 4, **job) == 3


def test_confined_slurm_tasks_do_not_share_again(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {4, 5, 6})
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "3", "SLURM_TASKS_PER_NODE": "4(x2)"}
    assert share(tmp_path, 4, **job) == 3


def test_one_slurm_task_that_starts_the_processes_itself(tmp_path) -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "12", "SLURM_TASKS_PER_NODE": "1"}
    assert share(tmp_path, 4, **job) == 3


def test_slurm_with_cores_of_the_node_alone(tmp_path) -> None:
    job = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "8", "SLURM_TASKS_PER_NODE": "2"}
    assert share(tmp_path, 2, **job) == 4
    assert share(tmp_path, 1, **job | {"SLURM_TASKS_PER_NODE": "1"}) == 8


def test_slurms_variables_outside_of_a_job_are_ignored(tmp_path) -> None:
    assert share(tmp_path, SLURM_CPUS_PER_TASK="2") == 16
