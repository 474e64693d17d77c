# SPDX-License-Identifier: MIT
"""A run read back from its ``result.json``, and what state it is in."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.records.registry.record import RunRecord, read_run

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
