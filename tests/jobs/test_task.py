# SPDX-License-Identifier: MIT
"""What becomes of a job by how its command ends: the file it leaves, its status, started again?"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mixmask_solo.jobs.records import beat_file, state_file
from mixmask_solo.jobs.task import Task, as_path

ROOT = Path(__file__).parents[2]
REPORT = "import json, os; open(os.environ['MIXMASK_SOLO_REPORT'], 'w').write(json.dumps({}))\n"
SAVED = REPORT.format(["saved x/last.ckpt", "x"])
START = """
import pickle, sys
with open(sys.argv[1], "rb") as file:
    pickle.load(file)()
"""


def start(folder: Path, script: str, *, rank: int = 0, ranks: int = 1, **more: Any) -> Any:
    """A task in a process of its own, as on a cluster."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SUBMITIT"))}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "SUBMITIT_EXECUTOR": "slurm",
        "SLURM_JOB_ID": "12",
        "SLURM_PROCID": str(rank),
        "SLURM_NTASKS": str(ranks),
        "SLURM_JOB_NUM_NODES": "1",
        **more.pop("environment", {}),
    }
    file = folder / f"task-{rank}.pkl"
    file.write_bytes(pickle.dumps(Task(["-c", script], str(folder), "0", "run", **more)))
    return subprocess.Popen(
        [sys.executable, "-c", START, str(file)],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: Any, folder: Path) -> tuple[int, dict[str, Any], bool]:
    """Its exit status, what it left, and whether the batch script will start it again."""
    process.communicate(timeout=60)
    state = json.loads(state_file(folder, "0").read_text())
    return process.returncode, state, (folder / "requeue-12").exists()


@pytest.mark.parametrize(
    ("script", "code", "status", "outcome"),
    [
        ("pass", 0, "completed", ""),
        (REPORT.format(["k-NN 90 %", "x"]), 0, "completed", "k-NN 90 %"),
        (REPORT.format(["lr is -1", ""]) + "exit(2)", 2, "refused", "lr is -1"),
        (REPORT.format(["loss is nan", ""]) + "exit(1)", 1, "failed", "loss is nan"),
        ("exit(1)", 1, "failed", ""),
        ("os.kill(os.getpid(), 9)", 137, "failed", "rank 0 on "),
        (SAVED + "exit(138)", 138, "requeued", "saved x/last.ckpt"),
        # nothing was saved: it would begin anew for ever
        (
            REPORT.format(["nothing was saved", ""]) + "exit(138)",
            138,
            "failed",
            "nothing was saved",
        ),
    ],
)
def test_ends(script: str, code: int, status: str, outcome: str, tmp_path: Path) -> None:
    process = start(tmp_path, "import os\n" + script, max_requeues=3)
    found, state, again = ended(process, tmp_path)
    assert (found, state["status"], again) == (code, status, status == "requeued")
    assert state["outcome"].startswith(outcome)
    assert state["job"] == "12"
    assert state["ended"] >= state["began"]


def test_a_job_starts_again_a_limited_number_of_times(tmp_path: Path) -> None:
    last = {"SLURM_RESTART_COUNT": "3"}
    process = start(tmp_path, SAVED + "exit(138)", max_requeues=3, environment=last)
    _, state, again = ended(process, tmp_path)
    assert not again
    assert state["status"] == "interrupted"
    assert state["outcome"] == "saved x/last.ckpt; not started again: max_requeues is 3"
    assert state["restarts"] == 3


WAIT = """
import os, pathlib, signal, sys, time
def end(number, frame):
    pathlib.Path({folder!r}, "got").write_text(str(number))
    sys.exit(128 + number)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, end)
pathlib.Path({folder!r}, "ready").touch()
time.sleep(30)
"""


def signalled(process: Any, folder: Path, number: int) -> tuple[int, dict[str, Any], bool]:
    while not (folder / "ready").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    return ended(process, folder)


@pytest.mark.parametrize("foreign", [False, True])
def test_what_the_command_gets_before_the_time_limit(foreign: bool, tmp_path: Path) -> None:
    """Ours its own signal, others one that they all know, and start again."""
    script = WAIT.format(folder=str(tmp_path))
    # for the second time: others tell of no steps
    once = {"SLURM_RESTART_COUNT": "1"} if foreign else {}
    process = start(tmp_path, script, max_requeues=2, foreign=foreign, environment=once)
    code, state, again = signalled(process, tmp_path, signal.SIGUSR1)
    got = signal.SIGTERM if foreign else signal.SIGUSR1
    assert (tmp_path / "got").read_text() == str(int(got))
    assert code == 128 + got
    assert again is foreign  # ours would have told what it saved
    assert state["status"] == ("requeued" if foreign else "interrupted")


def test_a_script_that_would_begin_anew_is_not_started_again(tmp_path: Path) -> None:
    script = WAIT.format(folder=str(tmp_path))
    process = start(tmp_path, script, max_requeues=1, foreign=True, resumes=False)
    _, state, again = signalled(process, tmp_path, signal.SIGUSR1)
    assert not again
    assert (
        "not started again: it would begin anew; give it auto_resume.enabled=true"
        in (state["outcome"])
    )


def test_a_job_that_makes_no_step_is_not_started_for_ever(tmp_path: Path) -> None:
    state_file(tmp_path, "0").write_text('{"status": "requeued", "step": 7}')
    beat = f"open({str(tmp_path)!r} + '/beat-0-0.json', 'w').write(json.dumps({{'step': 7}}))\n"
    again = {"SLURM_RESTART_COUNT": "1"}
    script = SAVED + beat + "exit(138)"
    process = start(tmp_path, script, max_requeues=9, environment=again)
    _, state, started = ended(process, tmp_path)
    assert not started
    assert state["outcome"].endswith("it made no step since it last was; give it more time")


def test_what_an_earlier_attempt_left_does_not_start_it_again(tmp_path: Path) -> None:
    (tmp_path / "requeue-12").touch()
    _, state, again = ended(start(tmp_path, "exit(2)", max_requeues=3), tmp_path)
    assert (state["status"], again) == ("refused", False)


def test_a_process_other_than_the_first_that_refuses_is_told(tmp_path: Path) -> None:
    script = REPORT.format(["data.stage_to: the disk is too small", ""]) + "exit(2)"
    ended(start(tmp_path, script, rank=1, ranks=2), tmp_path)
    process = start(tmp_path, WAIT.format(folder=str(tmp_path)), ranks=2)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    # the state of rank 1 came while rank 0 ran, which srun then ended
    ended(start(tmp_path, script, rank=1, ranks=2), tmp_path)
    process.send_signal(signal.SIGTERM)
    _, state, _ = ended(process, tmp_path)
    assert (state["status"], state["rank"]) == ("refused", 1)
    assert state["outcome"] == "data.stage_to: the disk is too small"


def test_what_is_cancelled_stays_so(tmp_path: Path) -> None:
    process = start(tmp_path, WAIT.format(folder=str(tmp_path)), max_requeues=1)
    _, state, again = signalled(process, tmp_path, signal.SIGTERM)
    assert (state["status"], again) == ("interrupted", False)
    assert state["outcome"] == "stopped by SIGTERM"


@pytest.mark.parametrize("again", [False, True])
def test_a_process_that_is_lost_is_named(again: bool, tmp_path: Path) -> None:
    """Rank zero, which dies of it, does not speak over it."""
    beat = {"rank": 1, "host": "n7", "step": 41, "progress": 83, "time": time.time()}
    beat_file(tmp_path, "0", 1).write_text(json.dumps(beat))
    state_file(tmp_path, "0").write_text('{"status": "running", "directory": "x"}')
    kill = "import os; os.kill(os.getpid(), 9)"
    process = start(tmp_path, kill, rank=1, ranks=2, max_requeues=1, requeue_lost=again)
    _, state, started = ended(process, tmp_path)
    assert state["outcome"] == "rank 1 on n7 after step 41 was killed by SIGKILL (out of memory?)"
    assert state["status"] == ("requeued" if again else "failed")
    assert state["directory"] == "x"
    assert started is again


@pytest.mark.parametrize(
    ("late", "progress", "named"),
    [
        (60.0, 81, "rank 1 on n7 after step 40"),
        (1.0, 80, "rank 1 on n7"),
        (1.0, 81, "rank 0 on n6"),
    ],
    ids=["stopped", "behind", "nobody known"],
)
def test_a_process_that_does_not_answer_is_named(
    late: float, progress: int, named: str, tmp_path: Path
) -> None:
    script = f"""
import json, time
for rank, late, progress in ((0, 0.0, 81), (1, {late}, {progress})):
    beat = {{"rank": rank, "host": f"n{{6 + rank}}", "step": 40, "progress": progress}}
    beat["time"] = time.time() - late
    open({str(tmp_path)!r} + f"/beat-0-{{rank}}.json", "w").write(json.dumps(beat))
"""
    script += REPORT.format(["the training processes lost each other: timed out", ""]) + "exit(1)"
    _, state, _ = ended(start(tmp_path, script, ranks=2), tmp_path)
    assert state["status"] == "failed"
    assert state["outcome"].startswith(named)
    assert state["outcome"].endswith("the training processes lost each other: timed out")


def test_the_run_before_takes_the_place_of_its_names(tmp_path: Path) -> None:
    state_file(tmp_path, "9").write_text('{"directory": "/runs/one"}')
    script = "import sys; print(sys.argv)"
    words = ["--at", "{checkpoint}", "a={run}", "b=1"]
    task = Task(["-c", script, *words], str(tmp_path), "9.1", "run", after="9")
    assert task._command()[2:] == ["--at", "/runs/one/last.ckpt", "a=/runs/one", "b=1"]
    # the value of an override may have to be quoted
    state_file(tmp_path, "9").write_text(json.dumps({"directory": '/my "runs"/one'}))
    training = ["-m", "mixmask_solo.cli.linear", as_path("a={checkpoint}"), "b=1"]
    task = Task(training, str(tmp_path), "9.1", "run", after="9")
    assert task._command()[2:] == ['a="/my \\"runs\\"/one/last.ckpt"', "b=1"]


def test_threads_and_address_are_those_of_the_job(tmp_path: Path) -> None:
    script = REPORT.replace("{}", "[os.environ['OMP_NUM_THREADS'], os.environ['MASTER_ADDR']]")
    environment = {"SLURM_CPUS_PER_TASK": "7"}
    os.environ.pop("OMP_NUM_THREADS", None)
    _, state, _ = ended(start(tmp_path, script, ranks=2, environment=environment), tmp_path)
    assert (state["outcome"], state["directory"]) == ("7", "127.0.0.1")
