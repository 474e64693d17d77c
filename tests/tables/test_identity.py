# SPDX-License-Identifier: MIT
"""What makes two runs the same experiment."""

from __future__ import annotations

from typing import Any

import pytest

from mixmask_solo.tables.identity import identity, unlike


def of(devices: int, sync: bool) -> dict[str, Any]:
    run = {"devices": devices, "sync_batchnorm": sync, "method": "byol", "data": {}}
    return identity({**run, "optimizer": {"batch_size": 16 // devices}})


@pytest.mark.parametrize(
    ("cell", "run", "same"),
    [
        ((8, True), (8, True), True),
        ((8, True), (4, True), True),
        ((8, True), (1, False), True),  # on a CPU, where it is switched off
        ((8, True), (1, True), True),
        ((8, True), (8, False), False),
        ((8, False), (1, False), True),
        ((1, True), (1, False), True),
    ],
)
def test_one_process_needs_no_synchronised_statistics(
    cell: tuple[int, bool], run: tuple[int, bool], same: bool
) -> None:
    assert (not unlike(of(*cell), of(*run))) is same
