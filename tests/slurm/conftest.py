# SPDX-License-Identifier: MIT
"""A real Slurm, started once for these tests; without its packages they are skipped.

Only ``make test-slurm`` asks for them: they take minutes of waiting for Slurm's own clocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm.cluster import Cluster, missing
from slurm.user import User


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if os.environ.get("MIXMASK_SLURM") != "1":
        pytest.skip("needs a Slurm of its own: make test-slurm")
    if why := missing():
        pytest.skip(why)
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    yield started
    started.stop()


@pytest.fixture
def user(cluster: Cluster, tmp_path: Path) -> User:
    return User(cluster, tmp_path)
