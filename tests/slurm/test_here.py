# SPDX-License-Identifier: MIT
"""Jobs on this machine, by submitit's local executor or by Hydra's launcher of it: no Slurm."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slurm.user import DIGITS, ROOT

pytestmark = pytest.mark.skipif(
    os.environ.get("MIXMASK_SLURM") != "1", reason="takes a minute: make test-slurm"
)
KNN = "mixmask-knn --pretrained_checkpoint {checkpoint}"
TINY = ("data.num_workers=0", "max_epochs=1", "limit_train_batches=1", "limit_val_batches=1")


def command(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """One of ours."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", f"mixmask_solo.cli.{name}", *arguments],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_jobs_run_here_one_after_another(tmp_path: Path) -> None:
    done = command(
        *("submit", "--local", "gpus_per_node=0", "cpus_per_task=1"),
        *(
            "--then",
            KNN,
            "--",
            "mixmask-pretrain",
            *DIGITS,
            *TINY,
        ),
        *(f"checkpoint.dir={tmp_path}/runs", "seed=1,2", "optimizer.lr=0.1"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [folder] = (tmp_path / "jobs").iterdir()
    states = {key: json.loads((folder / f"state-{key}.json").read_text()) for key in ("0", "1.1")}
    assert [state["status"] for state in states.values()] == ["completed", "completed"]
    runs = sorted((tmp_path / "runs" / "simclr").iterdir())
    assert len(runs) == 2
    assert (runs[1] / "knn.json").is_file()
    assert len(re.findall(r"^\d\S* +\d+ .* completed ", done.stdout, re.MULTILINE)) == 4
    assert done.stdout.count("k-NN") == 4  # of the probe's own line, and of the runs'
    again = command("submit", "status", cwd=tmp_path)
    assert "4 completed" in again.stdout
    logs = command("submit", "logs", str(folder), "--lines", "1", cwd=tmp_path)
    assert logs.stdout.count("==> ") == 4


def test_a_job_that_fails_here_keeps_what_comes_behind(tmp_path: Path) -> None:
    done = command(
        *(
            "submit",
            "--local",
            "gpus_per_node=0",
            "--then",
            KNN,
        ),
        *("--", "mixmask-pretrain", *DIGITS, *TINY, f"checkpoint.dir={tmp_path}/runs"),
        "optimizer.lr=-1",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    refused, behind = done.stdout.splitlines()[-2:]
    assert refused.split(maxsplit=4)[3:] == [
        "refused",
        "optimizer.lr is -1.0: give a number above 0.0",
    ]
    assert behind.split()[:3] == ["0.1", "-", "-"]
    assert behind.endswith("not started  the job before it is not completed")
    assert not (tmp_path / "runs").exists()


def test_a_launcher_of_hydras_runs_our_jobs(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    given = ["pretrain", "-m", *DIGITS, *TINY, f"checkpoint.dir={tmp_path}/runs"]
    given += ["limit_train_batches=1", "hydra/launcher=submitit_local"]
    given += [f"hydra.sweep.dir={tmp_path}/jobs", "hydra.launcher.timeout_min=5"]
    done = command(*given, "seed=1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs" / "simclr").glob("*/last.ckpt"))) == 2
    wrong = command(*given, "optimizer.lr=-1,-2", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1] == (
        "mixmask-pretrain: optimizer.lr is -1.0: give a number above 0.0"
    )
    assert "Traceback" not in wrong.stderr
