# SPDX-License-Identifier: MIT
"""``make demo`` leaves two pictures and the numbers of its closing line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_the_demo_ends_with_one_line_and_two_pictures(tmp_path: Path, command: Any) -> None:
    small = ["max_epochs=1", "limit_train_batches=2", "limit_val_batches=1", "data.num_workers=0"]
    done = command("demo", "--out", str(tmp_path / "out"), *small)
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    told = json.loads((tmp_path / "out" / "demo.json").read_text())
    assert line.startswith(f"k-NN accuracy: trained {told['knn']['trained']:.2f} %, untrained ")
    assert all((tmp_path / "out" / name).stat().st_size for name in ("mixed.png", "curves.png"))
