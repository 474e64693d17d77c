# SPDX-License-Identifier: MIT
"""Jobs on a real Slurm: what is submitted, what becomes of it, what is said where it goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from slurm.user import DIGITS, ROOT, SMALL, User

LONG = ("max_epochs=4", "limit_train_batches=60")  # half a minute of steps
KNN = "mixmask-knn --pretrained_checkpoint {checkpoint}"
SHORT = ("max_epochs=1", "limit_train_batches=2")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def by_hand(folder: Path, *overrides: str) -> Path:
    """The folder of the same run without a job."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "mixmask_solo.cli.pretrain", *DIGITS, *SMALL]
    command += [f"checkpoint.dir={folder}", "accelerator=cpu", *overrides]
    subprocess.run(command, env=environment, check=True, cwd=ROOT, timeout=600, capture_output=True)
    [found] = folder.glob("*/*/result.json")
    return found.parent


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one that nothing interrupted."""
    return by_hand(tmp_path_factory.mktemp("own"), *LONG)


def assert_same_weights(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_one_job(user: User) -> None:
    job = user.pretrain("time=5", overrides=SHORT)
    state = job.wait("completed")
    result = json.loads(Path(state["directory"], "result.json").read_text())
    assert (result["status"], result["steps"]) == ("completed", 2)
    told = user.run("status", job.id).stdout
    assert "completed" in told
    assert "images/s" in told
    assert "completed" in user.run("logs", job.id).stdout
    assert user.run("cancel", job.id).stdout == "nothing to cancel: all jobs have ended\n"


def test_an_array_of_six_is_one_call(user: User) -> None:
    job = user.pretrain("time=5", overrides=(*SHORT, "seed=0,1,2", "optimizer.lr=0.1,0.2"))
    assert [own["id"] for own in job.jobs.values()] == [f"{job.id[:-2]}_{i}" for i in range(6)]
    job.wait("completed", seconds=240)
    folders = {job.state(str(i))["directory"] for i in range(6)}
    assert len(folders) == 6
    configs = [json.loads(Path(folder, "args.json").read_text()) for folder in sorted(folders)]
    assert sorted({config["seed"] for config in configs}) == [0, 1, 2]


def test_two_nodes_train_as_two_processes_do(user: User) -> None:
    job = user.pretrain("nodes=2", "time=5", overrides=("max_epochs=1", "limit_train_batches=8"))
    state = job.wait("completed")
    hosts = [job.beat(rank)["rank"] for rank in (0, 1)]
    assert hosts == [0, 1]
    own = by_hand(
        user.folder / "own",
        *("max_epochs=1", "limit_train_batches=8", "++devices=2", "++strategy=ddp"),
    )
    assert_same_weights(Path(state["directory"]), own)
    result = json.loads(Path(state["directory"], "result.json").read_text())
    assert result["processes"] == 2


def test_a_time_limit_that_is_hit_changes_nothing(user: User, long_run: Path) -> None:
    job = user.pretrain("time=1", "signal_lead=10", overrides=LONG)
    job.wait_for_step(5)
    pid = training(user, 0)
    os.kill(pid, signal.SIGSTOP)  # else a fast machine is done within the minute
    user.cluster.until(lambda: not stopped(pid), 90)  # Slurm lets go on what it signals
    state = job.wait("completed", seconds=600)
    assert state["restarts"] >= 1, state  # more on a slow one
    result = json.loads(Path(state["directory"], "result.json").read_text())
    # an attempt that ends before its first step leaves no piece
    assert 2 <= len(result["pieces"]) <= state["restarts"] + 1
    assert len(list((user.folder / "runs" / "simclr").iterdir())) == 1
    assert_same_weights(Path(state["directory"]), long_run)


def test_a_cancelled_run_saves_and_stays_cancelled(user: User) -> None:
    job = user.pretrain("time=5", overrides=LONG)
    job.wait_for_step(5)
    assert re.search(r"epoch [1-4] of 4", user.run("status", job.id).stdout)
    done = user.run("cancel", job.id)
    assert done.stdout == "cancelled 1 job: a run that trains saves first\n"
    state = job.wait("interrupted")
    assert state["outcome"].startswith("saved ")
    assert Path(state["directory"], "last.ckpt").is_file()
    time.sleep(3)
    assert job.id not in user.cluster.call("squeue", "--noheader", "-o", "%i")


def test_preemption_goes_on_with_the_next_batch(user: User, long_run: Path) -> None:
    job = user.pretrain("time=5", overrides=LONG)
    job.wait_for_step(20)
    user.cluster.call("scontrol", "requeue", job.id)
    state = job.wait("completed", seconds=240)
    assert state["restarts"] == 1
    result = json.loads(Path(state["directory"], "result.json").read_text())
    one, two = result["pieces"]
    assert two["first_step"] == one["steps"] >= 20
    assert_same_weights(Path(state["directory"]), long_run)


def test_a_partition_of_higher_priority_takes_the_nodes(user: User) -> None:
    job = user.pretrain("time=5", "directives.exclusive=true", "nodes=2", overrides=LONG)
    job.wait_for_step(5)
    urgent = user.submit(
        "partition=urgent",
        "time=5",
        "nodes=1",
        "directives.exclusive=true",
        "--",
        "mixmask-pretrain",
        *DIGITS,
        *SMALL,
        *SHORT,
        f"checkpoint.dir={user.folder}/urgent",
    )
    urgent.wait("completed")
    state = job.wait("completed", seconds=300)
    assert state["restarts"] == 1
    result = json.loads(Path(state["directory"], "result.json").read_text())
    assert [piece["first_step"] for piece in result["pieces"]][1] >= 5


def test_a_lost_node_is_made_up_for(user: User) -> None:
    job = user.pretrain("time=5", "nodelist=n2", overrides=LONG)
    job.wait_for_step(60)
    user.cluster.lose_node("n2")
    try:
        user.cluster.call("scontrol", "update", f"jobid={job.id}", "ReqNodeList=")
        user.cluster.until(
            lambda: "DOWN" in user.cluster.call("scontrol", "show", "node", "n2"), 90
        )
        user.cluster.call("scontrol", "update", f"jobid={job.id}", "ReqNodeList=")
        state = job.wait("completed", seconds=240)
    finally:
        user.cluster.start_node("n2")
    assert state["restarts"] == 1
    assert len(list((user.folder / "runs" / "simclr").iterdir())) == 1
    user.cluster.until(user.cluster.idle, 60)


def test_a_killed_process_ends_the_job_with_its_name(user: User) -> None:
    job = user.pretrain("nodes=2", "time=5", overrides=LONG)
    job.wait_for_step(5, rank=1)
    os.kill(training(user, 1), signal.SIGKILL)
    state = job.wait("failed")
    assert state["outcome"].startswith("rank 1 on ")
    assert state["outcome"].endswith("was killed by SIGKILL (out of memory?)")
    assert "failed" in user.run("status", job.id).stdout


def test_a_killed_process_is_started_again_where_asked_for(user: User) -> None:
    job = user.pretrain("nodes=2", "time=5", "requeue_lost=true", overrides=LONG)
    job.wait_for_step(5, rank=1)
    os.kill(training(user, 1), signal.SIGKILL)
    state = job.wait("completed", seconds=240)
    assert state["restarts"] == 1


def test_a_process_that_hangs_is_named_within_the_timeout(user: User) -> None:
    job = user.pretrain("nodes=2", "time=5", overrides=(*LONG, "+timeout=0.4"))
    job.wait_for_step(5, rank=1)
    os.kill(training(user, 1), signal.SIGSTOP)
    begun = time.monotonic()
    state = job.wait("failed", seconds=120)
    assert time.monotonic() - begun < 90
    assert "rank 1 on " in state["outcome"]
    assert "did not answer" in state["outcome"]


def test_the_chain_waits_for_its_run(user: User) -> None:
    job = user.submit(
        *(
            "time=5",
            "--then",
            KNN,
            "--",
            "mixmask-pretrain",
            *DIGITS,
        ),
        *(*SMALL, *SHORT, f"checkpoint.dir={user.folder}/runs", "seed=0,1"),
    )
    job.wait("completed", seconds=240)
    for key in ("0", "1"):
        folder = Path(job.state(key)["directory"])
        assert (folder / "knn.json").is_file()
        assert str(folder) in job.log(key=f"{key}.1")


def test_a_chain_behind_a_failure_is_not_started(user: User) -> None:
    job = user.submit(
        *(
            "time=5",
            "--then",
            KNN,
            "--",
            "mixmask-pretrain",
            *DIGITS,
        ),
        *(*SMALL, *SHORT, f"checkpoint.dir={user.folder}/runs", "optimizer.lr=-1"),
    )
    user.cluster.until(lambda: job.status() == "refused", 60)
    user.cluster.until(lambda: "Invalid" in job.queued() or not job.queued(), 60)
    assert job.status("0.1") == ""
    assert job.state()["restarts"] == 0


def test_fifty_jobs_are_fifty_runs(user: User) -> None:
    seeds = f"seed=range({50})"
    begun = time.monotonic()
    job = user.pretrain("time=20", "array_parallelism=3", overrides=(*SHORT, seeds))
    assert time.monotonic() - begun < 15
    job.wait("completed", seconds=900)
    folders = {job.state(str(i))["directory"] for i in range(50)}
    assert len(folders) == 50
    seeds_run = {json.loads(Path(f, "args.json").read_text())["seed"] for f in folders}
    assert seeds_run == set(range(50))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["partition=nowhere"], "invalid partition specified: nowhere"),
        (["gpu_type=h100", "gpus_per_node=1"], "Requested node configuration is not available"),
        (["mem_gb=900"], "Memory specification can not be satisfied"),
        (["constraint=none"], "Invalid feature specification"),
        (["directives.no-such-option=1"], "unrecognized option '--no-such-option=1'"),
        (["nodelist=n9"], "Slurm refuses the job: "),
    ],
)
def test_what_slurm_refuses_is_one_line(keys: list[str], message: str, user: User) -> None:
    done = user.run("gpus_per_node=0", *keys, "--", "mixmask-pretrain", *DIGITS)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("mixmask-submit: ")
    assert message in line
    assert not list((user.folder / "jobs").iterdir())


def test_what_can_never_start_is_told(user: User) -> None:
    job = user.pretrain("time=2-00:00:00")
    told = "waiting  for ever: time is above the partition's limit"
    user.cluster.until(lambda: told in user.run("status", job.id).stdout, 30)
    assert user.run("cancel", job.id).returncode == 0


def test_a_full_disk_is_one_line(user: User) -> None:
    small = user.folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    try:
        (small / "full").write_bytes(bytes(12 << 10))
        done = user.run("--folder", str(small), "gpus_per_node=0", "--", "mixmask-knn", "x.ckpt")
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert "No space left on device" in line
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    "keys",
    [
        ["gpus_per_node=0", "tasks_per_node=4"],
        ["gpus_per_node=1"],
        ["gpus_per_node=4"],
        ["nodes=4", "gpus_per_node=4", "gpu_type=a100", "gpu_request=gres", "time=2-00:00:00"],
    ],
)
def test_slurm_takes_what_a_dry_run_prints(keys: list[str], user: User) -> None:
    """GPUs that are there by name alone: enough for Slurm to say when it would start."""
    more = ["partition=gpu", "cpus_per_task=2", "--dry-run", *keys]
    done = user.run(*more, "--", "mixmask-pretrain", *DIGITS, "seed=0,1")
    assert done.returncode == 0, done.stderr
    script = user.folder / "script.sh"
    script.write_text(done.stdout.partition("\njob ")[0] + "\n")
    told = user.cluster.call("sbatch", "--test-only", str(script))
    assert "to start at" in told, told


def stopped(pid: int) -> bool:
    """Whether there is such a process, and SIGSTOP holds it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    except (FileNotFoundError, ProcessLookupError):
        return False


def training(user: User, rank: int) -> int:
    """The Python that trains as this rank; what started it is another."""
    for proc in Path("/proc").glob("[0-9]*"):
        try:
            environment = (proc / "environ").read_bytes().split(b"\0")
            command = (proc / "cmdline").read_bytes()
        except OSError:
            continue
        mine = f"SLURM_PROCID={rank}".encode() in environment
        if (
            mine
            and b"mixmask_solo.cli.pretrain" in command
            and str(user.folder).encode() in command
        ):
            return int(proc.name)
    raise AssertionError("no such process")
