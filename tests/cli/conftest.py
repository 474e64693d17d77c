# SPDX-License-Identifier: MIT
"""Commands as a user starts them; what they set up for their process is undone in-process."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("mixmask_solo")
    levels = root.level, ours.level
    root_handlers, our_handlers = root.handlers[:], ours.handlers[:]
    with warnings.catch_warnings():
        yield
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    root.handlers[:], ours.handlers[:] = root_handlers, our_handlers
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command; what still runs of it is killed in the end."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str, *arguments: str, columns: int = 200, **more: Any) -> subprocess.Popen[str]:
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": str(columns)}
        defaults = {"cwd": ROOT, "env": {**os.environ, **environment}}
        process = subprocess.Popen(
            [sys.executable, "-m", f"mixmask_solo.cli.{name}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{**defaults, **more},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def command(
    start: Callable[..., subprocess.Popen[str]],
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command to its end."""

    def run(name: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
        process = start(name, *arguments, **more)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return run
