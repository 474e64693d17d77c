# SPDX-License-Identifier: MIT
"""The slow, obvious generator that the fast one is compared with lives in the benchmark."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "masks.py"


@pytest.fixture(scope="session")
def benchmark_module() -> ModuleType:
    """``benchmarks/masks.py``, which is no package."""
    spec = importlib.util.spec_from_file_location("benchmark_masks", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def loop(benchmark_module: ModuleType) -> Callable[[int, int, float], np.ndarray]:
    """``loop(n, grid, ratio)`` -> n masks of the published algorithm, seeded by its arguments."""

    def draw(n: int, grid: int, ratio: float) -> np.ndarray:
        rng = random.Random(f"{n} {grid} {ratio}")
        return np.array([benchmark_module.published_blocked(rng, grid, ratio) for _ in range(n)])

    return draw
