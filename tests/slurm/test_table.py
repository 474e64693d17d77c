# SPDX-License-Identifier: MIT
"""A table on a cluster: one array, measurements behind it, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

from mixmask_solo.jobs.records import submissions
from slurm.user import SMALL, User
from support.tables import TEXT


def test_a_table_is_an_array_with_measurements_behind_it(user: User) -> None:
    small = [word for word in SMALL if not word.startswith("limit_val_batches")]
    small += ["max_epochs=1", "data.fraction=0.2", "+knn_eval.final=false"]
    table, keys = user.folder / "two.yaml", user.folder / "keys.yaml"
    text = TEXT.replace("protocol: knn}", f"protocol: knn, overrides: {json.dumps(small)}}}")
    text = text.replace("protocol: adam}", f"protocol: adam, overrides: {json.dumps(small)}}}")
    table.write_text(text)
    keys.write_text("{gpus_per_node: 0, cpus_per_task: 1, time: 5}")
    words = (str(table), "--runs", "runs", "--slurm", str(keys))
    done = user.call("tables", "run", *words, "--wait")
    assert done.returncode == 0, done.stderr
    [submission] = submissions(user.folder / "jobs")
    jobs = {job.key: job.after for job in submission.jobs}
    # two trainings; the first one's k-NN and probe, the second one's k-NN
    assert jobs == {"0": None, "1": None, "0.1": "0", "1.1": "1", "0.2": "0"}
    assert len({job.id.partition("_")[0] for job in submission.jobs}) == 3  # calls of sbatch
    shown = user.call("tables", "show", str(table), "--runs", "runs", "--format", "json")
    cells = json.loads(shown.stdout)["cells"]
    assert [cell["n"] for cell in cells] == [1, 1, 1]
    [probe] = (user.folder / "runs" / "linear").glob("*/result.json")
    assert cells[1]["mean"] == json.loads(probe.read_text())["metrics"]["val_acc1"]
    again = user.call("tables", "run", *words, "--wait")
    assert "2 of 2 runs done and measured; 0 started" in again.stdout
    assert len(list(submissions(user.folder / "jobs"))) == 1
    assert len(list(Path(user.folder / "runs").rglob("last.ckpt"))) == 3
