# SPDX-License-Identifier: MIT
"""``mixmask-submit`` without a Slurm: what it would submit, jobs run here, wrong input."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.cli import jobs as shown
from mixmask_solo.cli import submit
from mixmask_solo.cli.job_plan import plan, tasks
from mixmask_solo.config import ConfigError
from mixmask_solo.jobs import batch
from mixmask_solo.jobs.options import SlurmOptions, read_options
from mixmask_solo.jobs.records import Planned, Submission, find

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "slurm"
DIGITS = ["--config-path", str(ROOT / "scripts/pretrain/digits"), "--config-name", "simclr_mixmask"]
TINY = ["data.num_workers=0", "max_epochs=1", "limit_train_batches=1", "limit_val_batches=1"]
KNN = "mixmask-knn --pretrained_checkpoint {checkpoint}"
CPU = SlurmOptions(gpus_per_node=0, cpus_per_task=1)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("1-gpu", []),
        ("4-gpus", ["gpus_per_node=4", "time=2-00:00:00", "mem_gb=60"]),
        ("4x4-gpus", ["nodes=4", "gpus_per_node=4", "gpu_type=a100", "gpu_request=gres"]),
    ],
)
def test_batch_scripts_are_the_golden_ones(name: str, keys: list[str]) -> None:
    options = read_options(None, [*keys, "python=python3"])
    [work] = plan(options, ["mixmask-pretrain", *DIGITS, "seed=0,1,2"], [], None)
    text = batch.script(work.options, Path("/shared/jobs/one"), work.name, len(work.jobs), None)
    assert text == (GOLDEN / f"{name}.sh").read_text()


def test_lists_of_values_are_one_array() -> None:
    given = ["mixmask-pretrain", *DIGITS, "method_kwargs.mixmask.grid_size=2,4,8", "seed=0,1,2"]
    [work] = plan(CPU, given, [], None)
    assert work.name == "simclr_mixmask"
    assert [job.key for job in work.jobs] == [str(number) for number in range(9)]
    assert work.jobs[5].label == "method_kwargs.mixmask.grid_size=4 seed=2"
    assert work.jobs[5].command[:2] == ["-m", "mixmask_solo.cli.pretrain"]
    assert {"method_kwargs.mixmask.grid_size=4", "seed=2"} < set(work.jobs[5].command)
    made = tasks(Path("/jobs/x"), work)
    assert len({task.run for task in made}) == 9


@pytest.mark.parametrize(
    ("keys", "devices", "nodes", "accelerator", "strategy"),
    [
        ([], 1, 1, "gpu", "auto"),
        (["gpus_per_node=8"], 8, 1, "gpu", "ddp"),
        (["nodes=2"], 1, 2, "gpu", "ddp"),
        (["gpus_per_node=0", "tasks_per_node=2", "nodes=2"], 2, 2, "cpu", "ddp"),
    ],
)
def test_devices_follow_from_the_job(
    keys: list[str], devices: int, nodes: int, accelerator: str, strategy: str
) -> None:
    options = read_options(None, keys)
    [work] = plan(options, ["mixmask-pretrain", *DIGITS], [], None)
    assert work.jobs[0].command[-4:] == [
        f"++devices={devices}",
        f"++num_nodes={nodes}",
        f"++accelerator={accelerator}",
        f"++strategy={strategy}",
    ]
    [given] = plan(options, ["mixmask-pretrain", *DIGITS, "strategy=fsdp"], [], None)
    assert "++strategy=ddp" not in given.jobs[0].command


def test_what_no_processes_share_gets_one() -> None:
    options = read_options(None, ["nodes=4", "gpus_per_node=8"])
    [work] = plan(options, ["mixmask-knn", "--pretrained_checkpoint", "run/last.ckpt"], [], None)
    assert (work.options.nodes, work.options.gpus_per_node, work.options.processes) == (1, 1, 1)
    assert work.jobs[0].command == [
        "-m",
        "mixmask_solo.cli.knn",
        "--pretrained_checkpoint",
        "run/last.ckpt",
    ]


def test_what_comes_behind_is_behind_each_job() -> None:
    then = [
        KNN,
        f"time=5 gpus_per_node=1 -- {KNN} --k 5",
    ]
    options = read_options(None, ["nodes=2"])
    first, one, two = plan(options, ["mixmask-pretrain", *DIGITS, "seed=0,1"], then, "mine")
    assert [job.key for job in first.jobs] == ["0", "1"]
    assert [(job.key, job.after, job.label) for job in two.jobs] == [
        ("0.2", "0", "seed=0"),
        ("1.2", "1", "seed=1"),
    ]
    assert (two.options.time, two.options.nodes) == ("5", 1)
    assert [w.name for w in (first, one, two)] == ["mine", "mine-then-knn", "mine-then-knn"]


def test_solo_learns_scripts_are_swept_by_their_words() -> None:
    script = ["mixmask-solo", "main_pretrain.py", "--config-path", "scripts/pretrain/cifar/"]
    script += ["--config-name", "byol.yaml", "++seed=1,2", "name='a,b'"]
    [work] = plan(CPU, script, [], None)
    assert work.foreign
    assert work.name == "byol"
    assert [job.label for job in work.jobs] == ["++seed=1", "++seed=2"]
    assert work.jobs[1].command[:3] == ["-m", "mixmask_solo.cli.solo", "main_pretrain.py"]
    assert "name='a,b'" in work.jobs[1].command
    assert "++devices='1'" in work.jobs[1].command
    [on_gpus] = plan(read_options(None, ["gpus_per_node=4"]), script, [], None)
    assert "++devices=[0,1,2,3]" in on_gpus.jobs[0].command


@pytest.mark.parametrize(
    ("command", "then", "message"),
    [
        (["python", "x.py"], [], "'python' is none of our commands: give mixmask-pretrain, "),
        (["mixmask-pretrain"], [], "give --config-path FOLDER and --config-name FILE"),
        (["mixmask-pretrain", *DIGITS, "optimizr.lr=1"], [], "optimizr.lr: there is no such key"),
        (["mixmask-pretrain", *DIGITS, "seed=["], [], "'seed=[' cannot be read"),
        (["mixmask-pretrain", *DIGITS, "devices=2"], [], "devices is given to the command, but"),
        (["mixmask-pretrain", *DIGITS, "++num_nodes=2"], [], "give nodes before the --"),
        (
            ["mixmask-pretrain", *DIGITS, "hydra/launcher=submitit_local"],
            [],
            "hydra/sweeper or hydra/launcher is chosen",
        ),
        (["mixmask-pretrain", *DIGITS], ["knn {run}"], "'knn' is none of our commands"),
        (["mixmask-pretrain", *DIGITS], ["nodes=0 -- mixmask-knn"], "nodes is 0"),
        (
            ["mixmask-pretrain", *DIGITS],
            [f"mixmask-pretrain {' '.join(DIGITS)} seed=1,2"],
            "is more than one job: give --then for each",
        ),
    ],
)
def test_wrong_commands_are_one_line(command: list[str], then: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(CPU, command, then, None)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "python", "x.py"], "'python' is none of our commands"),
        (["time=1:00:00"], "there is no command: give it after --"),
        (["--slurm", "none.yaml", "--", "mixmask-knn", "x"], "--slurm none.yaml: No such file"),
        (["partitoin=x", "--", "mixmask-knn", "x"], "unknown key partitoin"),
        (["status", "4711"], "no job '4711' in "),
        (["logs"], "the following arguments are required: job"),
        (["--folder", "a%b", "--", "mixmask-knn", "x"], "Slurm reads % in a path as a pattern"),
    ],
)
def test_wrong_input_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, command: Any
) -> None:
    done = command("submit", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("mixmask-submit")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_without_slurm_nothing_is_left(tmp_path: Path, command: Any) -> None:
    done = command(
        *("submit", "--", "mixmask-knn", "x"),
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "mixmask-submit: there is no srun here: submit from a login node of a Slurm cluster, or "
        "use --local"
    ]
    assert not list((tmp_path / "jobs").iterdir())


def test_an_array_of_84_jobs_is_one_call(tmp_path: Path, command: Any) -> None:
    for name in ("sbatch", "srun"):
        fake = tmp_path / name
        fake.write_text(f"#!/bin/sh\necho call >> {tmp_path}/calls\necho Submitted batch job 77\n")
        fake.chmod(0o755)
    done = command(
        *("submit", "--", "mixmask-pretrain", *DIGITS, "seed=range(84)"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == "call\n"
    [folder] = (tmp_path / "jobs").iterdir()
    jobs = json.loads((folder / "submission.json").read_text())["jobs"]
    assert [job["id"] for job in jobs] == [f"77_{i}" for i in range(84)]
    assert len(list(folder.glob("77_*_submitted.pkl"))) == 84
    assert done.stdout.splitlines()[0] == f"submitted 84 jobs as 77; logs and states in {folder}"


def test_a_dry_run_checks_every_job_and_submits_none(tmp_path: Path, command: Any) -> None:
    done = command(
        *(
            "submit",
            "--dry-run",
            "gpus_per_node=8",
            "--then",
            KNN,
            "--",
        ),
        *("mixmask-pretrain", *DIGITS, "optimizer.lr=0.1,-1", "accelerator=cpu"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "#SBATCH --gpus-per-node=8" in done.stdout
    assert "#SBATCH --dependency=aftercorr:JOB" in done.stdout
    assert done.stdout.splitlines()[-1] == "4 jobs, 1 of wrong configuration"
    assert done.stderr.splitlines() == [
        "mixmask-submit: job 1: optimizer.lr is -1.0: give a number above 0.0"
    ]
    assert not list(tmp_path.iterdir())


def test_numbers_are_found_by_part_and_whole(tmp_path: Path) -> None:
    jobs = [Planned("0", [], id="12_0"), Planned("1", [], id="12_1"), Planned("0.1", [], id="13")]
    folder = tmp_path / "one"
    folder.mkdir()
    Submission(folder, "one", jobs).save()
    assert [job.key for job in find(tmp_path, "12")[1]] == ["0", "1"]
    assert [job.key for job in find(tmp_path, "12_1")[1]] == ["1"]
    assert [job.key for job in find(tmp_path, "13")[1]] == ["0.1"]
    assert len(find(tmp_path, "one")[1]) == len(find(tmp_path, str(folder))[1]) == 3


def docs_commands() -> list[list[str]]:
    """What docs/clusters.md and README tell to type."""
    found = []
    for file in ("docs/clusters.md", "README.md"):
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / file).read_text(), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            wanted = [line for line in lines if line.startswith("mixmask-submit ")]
            found += [shlex.split(line, comments=True)[1:] for line in wanted]
    return [words for words in found if "--" in words and "..." not in words]


@pytest.mark.parametrize("words", docs_commands(), ids=lambda words: " ".join(words)[:60])
def test_commands_of_the_docs_are_understood(words: list[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    words = ["scripts/slurm/gpu.yaml" if word == "site.yaml" else word for word in words]
    own, given = submit._split(words)
    args = submit._parser().parse_intermixed_args(own)
    options = read_options(args.slurm, args.keys)
    work = plan(options, given, args.then, args.name)
    assert sum(len(part.jobs) for part in work) >= 1
    assert not [line for part in work for job in part.jobs if (line := shown._mistake(job))]


def test_the_docs_have_commands() -> None:
    assert len(docs_commands()) >= 5


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ("mixmask-knn it's", "is no command line: No closing quotation"),
        ("mixmask-linear --config-path scripts", "give --config-path FOLDER and --config-name"),
    ],
)
def test_a_wrong_command_behind_is_one_line(then: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(CPU, ["mixmask-pretrain", *DIGITS], [then], None)


def test_a_probe_behind_a_run_takes_its_checkpoint() -> None:
    probe = f"--config-path {ROOT}/scripts/linear/cifar --config-name sgd"
    given = f"mixmask-linear {probe} pretrained_feature_extractor={{checkpoint}}"
    work = plan(CPU, ["mixmask-pretrain", *DIGITS], [given], None)
    [task] = tasks(Path("/jobs/x"), work[1])
    assert any(word.startswith("pretrained_feature_extractor=/run-of") for word in task.command)


def test_scripts_without_hydra_are_left_as_they_are() -> None:
    [work] = plan(CPU, ["mixmask-solo", "main_knn.py", "--dataset", "cifar10"], [], None)
    assert work.jobs[0].command[2:] == ["main_knn.py", "--dataset", "cifar10"]
    with pytest.raises(ConfigError, match="no viable alternative"):
        plan(CPU, ["mixmask-solo", "main_pretrain.py", "a=["], [], None)
