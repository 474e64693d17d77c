# SPDX-License-Identifier: MIT
"""Signals to real runs: saved at the next step, told apart, resumed to the same end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mixmask_solo.config.files import read_json
from mixmask_solo.records.checkpoints import LAST, read_checkpoint
from support.methods import NARROW_WORDS

Start = Callable[..., "subprocess.Popen[str]"]
Command = Callable[..., "subprocess.CompletedProcess[str]"]
DIGITS = ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"]
SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "1",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NODELIST": "localhost",
}


def arguments(folder: Path, *more: str) -> list[str]:
    return [
        *DIGITS,
        *NARROW_WORDS,
        *("accelerator=cpu", "optimizer.batch_size=16", "max_epochs=3", "auto_resume.enabled=true"),
        *("limit_train_batches=20", "limit_val_batches=1", "method_kwargs.proj_hidden_dim=32"),
        f"checkpoint.dir={folder}",
        *more,
    ]


def result(folder: Path) -> dict[str, Any]:
    [file] = folder.glob("simclr/*/result.json")
    return read_json(file) | {"folder": file.parent}


def training(process: subprocess.Popen[str], folder: Path) -> dict[str, Any]:
    """Waits until the run is in its first epoch."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if list(folder.glob("simclr/*/result.json")):
            found = result(folder)
            if found.get("status") == "running":
                time.sleep(0.5)
                return found
        time.sleep(0.05)
    _, err = process.communicate(timeout=60)
    raise AssertionError(f"the run did not start (status {process.returncode}):\n{err}")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = read_checkpoint(folder / LAST)["state_dict"]
    return state


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "resumed"),
    [(signal.SIGTERM, False, False), (signal.SIGTERM, True, False), (signal.SIGINT, True, True)],
)
def test_a_signal_to_the_process_or_its_group_saves(
    number: signal.Signals,
    group: bool,
    resumed: bool,
    start: Start,
    command: Command,
    tmp_path: Path,
) -> None:
    args = arguments(tmp_path, "data.num_workers=2")
    process = start("pretrain", *args, start_new_session=True)
    training(process, tmp_path)
    (os.killpg if group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert f"interrupted ({number.name}); saved " in err
    stopped = result(tmp_path)
    assert stopped["status"] == "interrupted"
    saved = read_checkpoint(stopped["folder"] / LAST)
    assert saved["global_step"] == stopped["steps"]
    if not resumed:  # as after any of them
        return
    done = command("pretrain", *args)
    assert done.returncode == 0, done.stderr
    assert f"going on with {stopped['folder'] / LAST}" in done.stderr
    assert result(tmp_path)["status"] == "completed"
    assert result(tmp_path)["steps"] == 60


@pytest.mark.slow
def test_slurms_signal_saves_into_the_runs_folder_and_nobody_goes_on_from_elsewhere(
    start: Start, tmp_path: Path
) -> None:
    folder, here = tmp_path / "runs", tmp_path / "here"
    here.mkdir()
    # what Lightning would have left here for another run, and would silently go on from
    (here / "hpc_ckpt_1.ckpt").write_bytes(b"of another run")
    args = arguments(folder, "data.num_workers=1")
    args[1] = str(Path(args[1]).resolve())
    environment = {**os.environ, **SLURM, "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    process = start("pretrain", *args, cwd=here, env=environment, start_new_session=True)
    running = training(process, folder)
    assert running["steps"] == 0
    os.killpg(process.pid, signal.SIGUSR1)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGUSR1, err
    assert [p.name for p in here.iterdir()] == ["hpc_ckpt_1.ckpt"]
    stopped = result(folder)
    assert stopped["status"] == "interrupted"
    assert read_checkpoint(stopped["folder"] / LAST)["global_step"] == stopped["steps"]


@pytest.mark.slow
def test_of_two_ranks_one_is_told_and_both_save_the_same_step(
    start: Start, command: Command, tmp_path: Path
) -> None:
    ddp = ["devices=2", "strategy=ddp", "data.num_workers=0", "max_epochs=2"]
    straight = command("pretrain", *arguments(tmp_path / "straight", *ddp))
    assert straight.returncode == 0, straight.stderr
    args = arguments(tmp_path / "cut", *ddp)
    process = start("pretrain", *args)
    training(process, tmp_path / "cut")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert err.count("interrupted (SIGTERM)") == 1, err
    assert "Traceback" not in err
    stopped = result(tmp_path / "cut")
    assert stopped["status"] == "interrupted"
    assert 0 < stopped["steps"] < 40
    done = command("pretrain", *args)
    assert done.returncode == 0, done.stderr
    a, b = (result(tmp_path / name) for name in ("straight", "cut"))
    assert b["status"] == "completed"
    assert [p["first_step"] for p in b["pieces"]] == [0, stopped["steps"]]
    assert b["metrics"] == a["metrics"]
    one, other = (weights(r["folder"]) for r in (a, b))
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert (a["folder"] / "metrics.csv").read_bytes() == (b["folder"] / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_two_commands_at_once_and_a_kill(start: Start, command: Command, tmp_path: Path) -> None:
    args = arguments(tmp_path, "data.num_workers=1", "max_epochs=2", "limit_train_batches=40")
    first = start("pretrain", *args)
    training(first, tmp_path)
    first.send_signal(signal.SIGSTOP)  # it might end before the second one has begun
    second = command("pretrain", *args)
    assert second.returncode == 2
    [line] = [x for x in second.stderr.splitlines() if x.startswith("mixmask-pretrain:")]
    assert f"in use by process {first.pid} on " in line
    assert len(list(tmp_path.glob("simclr/*"))) == 1
    first.kill()
    first.communicate()
    assert result(tmp_path)["status"] == "running"  # as it was when it was killed
    done = command("pretrain", *args)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("simclr/*"))) == 1
    assert [p["status"] for p in result(tmp_path)["pieces"]] == ["killed", "completed"]
    again = command("pretrain", *args)
    assert again.returncode == 0
    assert again.stdout.startswith("nothing is left to do; completed: ")
    assert json.dumps(result(tmp_path)["metrics"])
