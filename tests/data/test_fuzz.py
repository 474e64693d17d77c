# SPDX-License-Identifier: MIT
"""Some of the byte strings of ``benchmarks/fuzz_images.py``, through decoders of any machine."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz_images.py"


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(SCRIPT.parent))
    try:
        spec = importlib.util.spec_from_file_location("fuzz_images", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(SCRIPT.parent))
    return module


@pytest.mark.parametrize("decoder", ["pil", "resident"])
def test_damaged_bytes_neither_crash_nor_miscount(fuzz, tmp_path, decoder):
    rng = np.random.default_rng(0)
    strings = fuzz.damaged(fuzz.originals(None, 32, rng), 320, rng)
    strings = [raw for raw in strings if fuzz.size(raw) in (None, (32, 32))]
    bad = fuzz.write(tmp_path / "set", strings)
    assert 0.2 < len(bad) / len(strings) < 0.9
    assert fuzz.check(tmp_path / "set", decoder, bad, len(strings), 0)["wrong"] == []


def test_the_same_seed_makes_the_same_strings(fuzz):
    def strings():
        rng = np.random.default_rng(3)
        return fuzz.damaged(fuzz.originals(None, 16, rng), 50, rng)

    assert strings() == strings()
