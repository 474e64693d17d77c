# SPDX-License-Identifier: MIT
"""A run read back from its ``result.json``, and what state it is in."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry import processes
from mixmask_solo.records.registry.record import RunRecord, read_run
from mixmask_solo.records.registry.row import Keys, Row, flatten

AT = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def record(status: str, *, seconds: float = 0, **more: object) -> RunRecord:
    beaten = (AT - timedelta(seconds=seconds)).isoformat(timespec="seconds")
    told = {"status": status, "heartbeat": beaten, "process": {"pid": 1, "host": "elsewhere"}}
    return RunRecord(Path("run"), {**told, **more})


def gone() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize(
    ("run", "state"),
    [
        (record("running", seconds=20), "running"),
        (record("running", seconds=3600), "died"),
        (record("running", process={"pid": os.getpid(), "host": socket.gethostname()}), "running"),
        (record("completed", seconds=3600), "completed"),
        (record("interrupted"), "interrupted"),
        (record("failed", error="RuntimeError: out of memory"), "failed"),
        (record("failed", error="NonFiniteLoss: the loss is not finite in epoch 3"), "diverged"),
        (record("running", heartbeat="yesterday"), "died"),
    ],
)
def test_each_state_is_told_from_the_others(run: RunRecord, state: str) -> None:
    assert run.state(AT) == state


def test_a_process_of_this_machine_that_is_gone_is_dead_at_once() -> None:
    here = {"pid": gone(), "host": socket.gethostname()}
    assert record("running", process=here).state(AT) == "died"


def own(started: datetime, *, seconds: float = 3600) -> RunRecord:
    """A run of this very process that was heard of ``seconds`` ago."""
    process = {"pid": os.getpid(), "host": socket.gethostname()}
    pieces = [{"started": "torn"}, {"started": started.isoformat(timespec="seconds")}]
    return record("running", seconds=seconds, process=process, pieces=pieces)


def test_a_process_of_this_machine_that_lives_needs_no_heartbeat() -> None:
    now = datetime.now(timezone.utc)
    before = now - timedelta(days=1)  # the run's process had ended, and its number is ours now
    assert own(now).state(AT) == "running"  # in a validation of an hour
    assert own(before).state(AT) == "died"
    assert own(before, seconds=20).state(AT) == "running"  # as on any other machine


def test_where_a_process_does_not_say_when_it_began_the_heartbeat_counts(monkeypatch) -> None:
    monkeypatch.setattr("mixmask_solo.records.registry.record.process_began", lambda pid: None)
    now = datetime.now(timezone.utc)
    assert own(now).state(AT) == "died"
    assert own(now, seconds=20).state(AT) == "running"


def test_a_row_of_the_index_tells_the_state_of_its_run(tmp_path: Path) -> None:
    for started in (datetime.now(timezone.utc), AT - timedelta(days=1)):
        run = own(started)
        date = started.isoformat(timespec="seconds")
        flat = flatten({**run.result, "provenance": {"date": date}})
        row = Row(tmp_path, Keys({key: i for i, key in enumerate(flat)}), list(flat.values()))
        assert row.state(AT) == run.state(AT)


@pytest.mark.parametrize("pid", [0, -1, 10**30, float("inf"), "x", None])
def test_a_number_that_is_no_process_is_dead(pid: object) -> None:
    here = {"pid": pid, "host": socket.gethostname()}
    assert record("running", process=here).state(AT) == "died"


def test_when_a_process_began(monkeypatch) -> None:
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        found = processes.process_began(child.pid)
        by_ps = processes._began_by_ps(child.pid) if shutil.which("ps") else before
        child.communicate(b"\n")
    assert found is not None
    assert found == pytest.approx(before, abs=1)
    assert by_ps == pytest.approx(before, abs=2.5)  # whole seconds
    assert processes.process_began(gone()) is None


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("      00:07", 7), ("02:01:00", 7260), ("3-00:00:01", 259201), ("", None), ("ELAPSED", None)],
)
def test_the_age_that_ps_tells(monkeypatch, told: str, seconds: float | None) -> None:
    done = subprocess.CompletedProcess([], 0, f"{told}\n", "")
    monkeypatch.setattr(processes.subprocess, "run", lambda *_, **__: done)
    found = processes._began_by_ps(1)
    assert (found is None) == (seconds is None)
    assert found is None or time.time() - found == pytest.approx(seconds, abs=1)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no run: it has no result\.json"):
        read_run(tmp_path)
    file = tmp_path / "result.json"
    file.write_text('{"status": "runn')
    with pytest.raises(ConfigError, match=f"{file} cannot be read"):
        read_run(tmp_path)
    file.write_text("[]")
    with pytest.raises(ConfigError, match="does not say a status"):
        read_run(tmp_path)
    file.write_text('{"status": "completed", "metrics": [1]}')
    with pytest.raises(ConfigError, match="is damaged: metrics is no object"):
        read_run(tmp_path)
    file.write_text('{"status": "completed", "schema": 2}')
    with pytest.raises(ConfigError, match="is of schema 2, and 1 is known here: update"):
        read_run(tmp_path)
    file.write_text(json.dumps({"status": "completed", "config": {"method": "byol"}}))
    assert read_run(tmp_path).kind == "pretrain"


def test_reading_runs_loads_no_torch() -> None:
    code = "import sys, mixmask_solo.records.registry.record; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
