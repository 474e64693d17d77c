# SPDX-License-Identifier: MIT
"""Processes that train together end together, and none is ended while it saves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WATCH = """
import os, subprocess, sys, time
from mixmask_solo.cli import ranks
from mixmask_solo.cli.ending import _die
ranks._GRACE = {grace}
ranks.watch(lambda what: _die("x", what))
"""
RANK_ZERO = """
from lightning.pytorch.strategies.launchers import subprocess_script
codes = "import time; time.sleep(60)", "raise SystemExit(3)"
children = [subprocess.Popen([sys.executable, "-c", code]) for code in codes]
subprocess_script._launch_process_observer(children)
print(*(child.pid for child in children), flush=True)
time.sleep({seconds})
ranks.dismiss(0)
sys.exit(130)
"""


def run(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_rank_zero_has_time_to_end_by_itself() -> None:
    """Lightning's own observer looks every five seconds, and kills."""
    done = run((WATCH + RANK_ZERO).format(grace=60, seconds=7))
    assert (done.returncode, done.stderr) == (130, "")
    assert not any(Path(f"/proc/{pid}").exists() for pid in done.stdout.split())


def test_rank_zero_that_hangs_ends_and_says_why() -> None:
    done = run((WATCH + RANK_ZERO).format(grace=0.5, seconds=60))
    assert done.returncode == 1
    pids = done.stdout.split()
    expected = f"the training processes lost each other: rank 2 (pid {pids[1]}) ended with status 3"
    assert done.stderr == f"x: {expected}\n"
    assert not Path(f"/proc/{pids[0]}").exists()


def test_other_ranks_end_with_rank_zero() -> None:
    other = WATCH.format(grace=0.5) + "print(os.getpid(), flush=True); time.sleep(60)"
    zero = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {other!r}], env=os.environ | {{"LOCAL_RANK": "1"}},
                         stdout=subprocess.PIPE)
child.stdout.readline()
"""
    done = run(zero)
    said = "the training processes lost each other: the process that started this one has ended"
    assert done.stderr == f"x (rank 1): {said}\n"
