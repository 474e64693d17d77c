# SPDX-License-Identifier: MIT
"""Two processes that train together, each a test's own file as a program."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

__all__ = ["run_two"]


def run_two(file: str, folder: Path, *arguments: str) -> None:
    """Runs ``file RANK PORT FOLDER *arguments`` for both ranks; both have to end well."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, file, str(rank), str(port), str(folder), *arguments], env=environ
        )
        for rank in range(2)
    ]
    try:
        assert [process.wait(timeout=240) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
