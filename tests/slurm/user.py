# SPDX-License-Identifier: MIT
"""Someone who submits jobs to the Slurm of these tests, and looks after them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
DIGITS = ("--config-path", str(ROOT / "scripts/pretrain/digits"), "--config-name", "simclr_mixmask")
SMALL = (
    *("data.num_workers=0", "limit_val_batches=1", "optimizer.batch_size=16"),
    *("backbone.name=resnet10t", "++backbone.kwargs.stem_width=4", "knn_eval.enabled=false"),
    *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=16"),
)


ENDED = ("completed", "failed", "refused", "interrupted")


@dataclass
class User:
    """Someone who submits, in a folder of their own."""

    cluster: Cluster
    folder: Path

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """``mixmask-submit`` with these arguments."""
        return self.call("submit", *arguments, **more)

    def call(self, command: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """One of our commands, by the name of its module."""
        environment = {**self.cluster.environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-m", f"mixmask_solo.cli.{command}", *arguments],
            env={**environment, **more},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )

    def submit(self, *arguments: str) -> Submitted:
        """One that Slurm takes; keys come first, as on the command line."""
        done = self.run("gpus_per_node=0", "cpus_per_task=1", *arguments)
        assert done.returncode == 0, done.stderr
        return Submitted(self, Path(done.stdout.split(" in ", 1)[1].splitlines()[0]))

    def pretrain(self, *keys: str, overrides: tuple[str, ...] = ()) -> Submitted:
        """A run of digits whose folder lies under ``runs``."""
        runs = f"checkpoint.dir={self.folder}/runs"
        return self.submit(*keys, "--", "mixmask-pretrain", *DIGITS, *SMALL, runs, *overrides)


@dataclass
class Submitted:
    """What was handed over, and what becomes of it."""

    user: User
    folder: Path

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        content = json.loads((self.folder / "submission.json").read_text())
        return {job["key"]: job for job in content["jobs"]}

    @property
    def id(self) -> str:
        return str(self.jobs["0"]["id"])

    def state(self, key: str = "0") -> dict[str, Any]:
        file = self.folder / f"state-{key}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def status(self, key: str = "0") -> str:
        return str(self.state(key).get("status", ""))

    def beat(self, rank: int = 0) -> dict[str, Any]:
        file = self.folder / f"beat-0-{rank}.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def log(self, rank: int = 0, key: str = "0") -> str:
        return (self.folder / f"{self.jobs[key]['id']}_{rank}_log.out").read_text()

    def queued(self) -> str:
        return self.user.cluster.call("squeue", "--noheader", "--jobs", self.id.split("_")[0])

    def wait(self, *statuses: str, seconds: float = 120) -> dict[str, Any]:
        """Until every job has one of these statuses and is out of the queue."""

        def done() -> bool:
            told = {key: self.status(key) for key in self.jobs}
            left = self.queued()
            gone = "Invalid" in left or not left
            wrong = [k for k, v in told.items() if gone and v in ENDED and v not in statuses]
            assert not wrong, [self.state(key) for key in wrong]
            return gone and set(told.values()) <= set(statuses)

        self.user.cluster.until(done, seconds)
        return self.state()

    def wait_for_step(self, step: int, rank: int = 0, seconds: float = 90) -> None:
        self.user.cluster.until(lambda: self.beat(rank).get("step", 0) >= step, seconds)
