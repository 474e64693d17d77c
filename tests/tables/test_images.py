# SPDX-License-Identifier: MIT
"""A part of a data set does not pass for the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.tables.images import other_images


@pytest.mark.parametrize(
    ("train", "val", "told"),
    [
        (126_689, 5_000, ""),
        (126_100, 5_000, ""),  # damaged ones were left out
        (1_000, 5_000, "1,000 training images, not the 126,689 of imagenet100"),
        (126_689, 10, "10 validation images, not the 5,000 of imagenet100"),
    ],
)
def test_imagenet_100(train: int, val: int, told: str) -> None:
    images = {"train": {"images": train}, "val": {"images": val}}
    result = {"config": {"data": {"dataset": "imagenet100"}}, "data": images}
    assert other_images(RunRecord(Path("run"), result)) == told
