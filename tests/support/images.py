# SPDX-License-Identifier: MIT
"""Parquet files of small images with whatever labels, or none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

__all__ = ["write_parquet"]


def write_parquet(path: Path, labels: Sequence[int | None] | int) -> Path:
    """Images that differ by class; a number means so many of them, and no column of labels."""
    given = [None] * labels if isinstance(labels, int) else list(labels)
    rng = np.random.default_rng(len(given))
    rows = []
    for label in given:
        pixels = rng.integers(0, 100, (16, 16, 3)) + 15 * (label or 0)
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
        rows.append({"bytes": stream.getvalue(), "path": None})
    columns = {"image": rows, "caption": ["x"] * len(rows)}
    if not isinstance(labels, int):
        columns["label"] = pa.array(given, pa.int64())  # type: ignore[assignment]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path
