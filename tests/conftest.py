# SPDX-License-Identifier: MIT
"""Fixtures and settings that every test shares."""

from __future__ import annotations

import copy
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("default", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=40)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    # A shell's `&` has it ignored, and so would every command that a test starts and stops.
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def cache_of_these_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands remember across runs is none of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def golden() -> Callable[[str], dict[str, np.ndarray[Any, Any]]]:
    """Loads a golden file by name, e.g. ``golden("mixmask_moco")["total"]``."""

    def load(name: str) -> dict[str, np.ndarray[Any, Any]]:
        with np.load(GOLDEN / f"{name}.npz") as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded CPU generator, fresh for each test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Callable[..., Any]]:
    """``elsewhere("x + y", x=1, y=2)``: evaluated by a process that was not forked off this one.

    It knows nothing but what it is sent, and no test can be imported there. What torch sends is
    shared memory, so copies are sent.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda code, **values: pool.submit(eval, code, copy.deepcopy(values)).result()
