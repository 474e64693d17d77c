# SPDX-License-Identifier: MIT
"""A sweep goes on whatever becomes of a job, and ends with a table and the right status."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mixmask_solo.cli import sweep as sweeping
from mixmask_solo.cli.plan import Planned, expand
from mixmask_solo.cli.sweep import sweep
from mixmask_solo.config import ConfigError
from support.methods import NARROW_WORDS

ROOT = Path(__file__).parents[2]
DIGITS = ["--config-path", "scripts/pretrain/digits", "--config-name", "simclr_mixmask"]
SMALL = ["limit_val_batches=1", "data.num_workers=0", "accelerator=cpu", "max_epochs=1"]
SMALL += NARROW_WORDS


def rows(out: str) -> list[list[str]]:
    """The table's cells; an outcome keeps its blanks."""
    lines = out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("job  overrides"))
    return [re.split(r"  +", line.strip(), maxsplit=5) for line in lines[head + 1 : -1]]


@pytest.mark.slow
def test_a_job_that_diverges_or_is_wrong_stops_no_other(tmp_path: Path, command: Any) -> None:
    before = set(ROOT.iterdir())
    done = command(
        *("pretrain", "-m", *DIGITS, *SMALL, f"checkpoint.dir={tmp_path}"),
        *("limit_train_batches=3", "scheduler.name=none", "optimizer.lr=1e30,-1,0.1"),
    )
    assert done.returncode == 1
    diverged, wrong, good = rows(done.stdout)
    assert diverged[:3] == ["1", "optimizer.lr=1e+30", "failed"]
    assert diverged[5].startswith("the loss is not finite in epoch 1, batch ")
    assert wrong[:3] == ["2", "optimizer.lr=-1", "refused"]
    assert wrong[4:] == ["-", "optimizer.lr is -1.0: give a number above 0.0"]
    assert good[:3] == ["3", "optimizer.lr=0.1", "completed"]
    assert (Path(good[4]) / "result.json").is_file()
    assert f"completed: {good[5]} -> {good[4]}" in done.stdout.splitlines()
    assert "k-NN" in good[5]
    assert float(good[3]) > 0
    assert done.stdout.splitlines()[-1] == "3 jobs: 1 failed, 1 refused, 1 completed"
    assert "Traceback" not in done.stderr
    assert set(ROOT.iterdir()) == before  # no folder `multirun`
    assert [p.name for p in tmp_path.iterdir()] == ["simclr"]


def test_mistakes_in_all_jobs_have_their_own_status(tmp_path: Path, command: Any) -> None:
    done = command("pretrain", "-m", *DIGITS, f"checkpoint.dir={tmp_path}", "optimizr=1,2")
    assert done.returncode == 2
    assert [row[:3] for row in rows(done.stdout)] == [
        ["1", "optimizr=1", "refused"],
        ["2", "optimizr=2", "refused"],
    ]
    assert not list(tmp_path.iterdir())


def test_what_is_wrong_for_all_jobs_starts_none(tmp_path: Path, command: Any) -> None:
    done = command("pretrain", "-m", *DIGITS, "optimizr.lr=1", "seed=1,2")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert "optimizr.lr: there is no such key" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False)],
    ids=["Ctrl-C in a terminal", "kill"],
)
def test_a_signal_stops_the_whole_sweep(
    number: int, group: bool, tmp_path: Path, start: Any
) -> None:
    process = start(
        *("pretrain", "-m", *DIGITS, *SMALL, f"checkpoint.dir={tmp_path}", "seed=1,2,3"),
        *("limit_train_batches=2", "max_epochs=500"),
        start_new_session=True,
    )
    while not list(tmp_path.glob("simclr/*/last.ckpt")):
        assert process.poll() is None
        time.sleep(0.1)
    (os.killpg if group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number, err
    first, *others = rows(out)
    assert first[2] != "completed"
    if number == signal.SIGINT:
        [folder] = tmp_path.glob("simclr/*")
        assert first[2] == "interrupted"
        assert first[4:] == [str(folder), f"saved {folder}/last.ckpt"]
        assert (folder / "last.ckpt").is_file()
    assert [row[1:] for row in others] == [
        ["seed=2", "not started", "-", "-", "-"],
        ["seed=3", "not started", "-", "-", "-"],
    ]
    assert "Traceback" not in err


ENDS = {
    "well": "told.append(Outcome('fine', 'folder'))",
    "bug": "raise KeyError('a bug')",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "odd": "os._exit(255)",
    "silent": "os._exit(0)",
    "hangup": "os.kill(os.getpid(), signal.SIGHUP)",
    # a worker outlives its job
    "stray": """
if os.fork() == 0:
    time.sleep(20)
    os._exit(0)
told.append(Outcome('fine'))
""",
}


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Jobs that are small scripts."""
    script = """
import os, signal, sys, time
from mixmask_solo.jobs.process import Outcome, reporting
with reporting() as told:
    assert "MIXMASK_SOLO_REPORT" not in os.environ
    exec(sys.argv[1])
"""
    monkeypatch.setattr(sweeping, "this_command", lambda: [sys.executable, "-c", script])
    return lambda *names: [Planned([ENDS[name]], [name]) for name in names]


def test_jobs_that_cannot_say_how_they_ended(plans: Any, capfd: Any) -> None:
    begun = time.monotonic()
    assert sweep("x", plans("well", "bug", "killed", "odd", "silent", "stray")) == 1
    assert time.monotonic() - begun < 20
    out, err = capfd.readouterr()
    assert [[*row[1:3], *row[4:]] for row in rows(out)] == [
        ["well", "completed", "folder", "fine"],
        ["bug", "failed", "-", "KeyError: 'a bug'"],
        ["killed", "failed", "-", "SIGKILL: out of memory?"],
        ["odd", "failed", "-", "ended with status 255, without a word"],
        ["silent", "failed", "-", "ended with status 0, without a word"],
        ["stray", "completed", "-", "fine"],
    ]
    assert err.count("Traceback") == 1


def test_a_job_that_a_signal_ended_is_the_last(plans: Any, capfd: Any) -> None:
    assert sweep("x", plans("well", "hangup", "well")) == 128 + signal.SIGHUP
    assert [row[2] for row in rows(capfd.readouterr().out)] == [
        "completed",
        "interrupted",
        "not started",
    ]
    assert sweep("x", plans("well", "well")) == 0


@pytest.fixture
def configuration(tmp_path: Path) -> Any:
    def write(**content: Any) -> list[str]:
        (tmp_path / "group").mkdir()
        for name in "ab":
            (tmp_path / "group" / f"{name}.yaml").write_text(f"value: {name}\n")
        (tmp_path / "main.yaml").write_text(yaml.safe_dump({"lr": 1, "seed": 5, **content}))
        return ["--config-path", str(tmp_path), "--config-name", "main", "-m"]

    return write


def swept(arguments: list[str]) -> list[list[str]]:
    plans = expand(arguments)
    assert plans is not None
    common = [f"--config-name={arguments[3]}", f"--config-path={arguments[1]}"]
    assert all(plan.arguments[:2] == common for plan in plans)
    return [plan.swept for plan in plans]


def test_jobs_are_those_of_hydras_own_sweeper(configuration: Any) -> None:
    arguments = configuration()
    assert swept([*arguments, "lr=1,2", "+name=x", "seed=range(3)", "seed=7,8"]) == [
        ["lr=1", "seed=7"],
        ["lr=1", "seed=8"],
        ["lr=2", "seed=7"],
        ["lr=2", "seed=8"],
    ]
    assert swept([*arguments, "+group=glob(*)", "~lr"]) == [["+group=a"], ["+group=b"]]
    assert swept([*arguments, "+name='a,b',c"]) == [["+name='a,b'"], ["+name=c"]]
    assert swept([*arguments, "lr=3"]) == [[]]
    plans = expand([*arguments, "~lr", "hydra.verbose=true", "+x=[1,2],[3]"])
    assert plans is not None
    assert [plan.arguments[2:] for plan in plans] == [
        ["hydra.verbose=true", "~lr", "+x=[1,2]"],
        ["hydra.verbose=true", "~lr", "+x=[3]"],
    ]


def test_a_sweep_may_stand_in_the_file(configuration: Any) -> None:
    arguments = configuration(hydra={"sweeper": {"params": {"lr": "1,2"}}, "mode": "MULTIRUN"})
    assert swept(arguments) == [["lr=1"], ["lr=2"]]
    plans = expand([*arguments, "lr=5"])
    assert plans is not None
    assert [plan.arguments[2:] for plan in plans] == [["hydra.mode=RUN", "lr=5"]]


@pytest.mark.parametrize("override", ["+group=glob(x*)", "lr=interval(0,1)"])
def test_a_sweep_over_nothing_countable_is_refused(configuration: Any, override: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(override)):
        expand([*configuration(), override])
