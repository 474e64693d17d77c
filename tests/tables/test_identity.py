# SPDX-License-Identifier: MIT
"""What makes two runs the same experiment."""

from __future__ import annotations

from typing import Any

import pytest

from mixmask_solo.tables.identity import fingerprint, identity, unlike


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


def test_rows_that_differ_in_synchronised_statistics_are_two_runs() -> None:
    assert fingerprint(of(4, True)) != fingerprint(of(4, False))
    assert fingerprint(of(1, True)) == fingerprint(of(1, False))


@pytest.mark.parametrize(
    ("cell", "run", "differ"),
    [
        (None, {"crop_size": 32, "mean": [0.1] * 3, "std": [0.2] * 3}, []),  # the checkpoint's
        ({"resize": 36}, {"resize": 36, "crop_size": 32}, []),
        ({"resize": 36}, {"resize": 64, "crop_size": 32}, ["data.augmentations.resize"]),
        (None, {"interpolation": "bilinear"}, ["data.augmentations.interpolation"]),
    ],
)
def test_a_probes_own_transform_counts_and_what_follows_from_the_network_does_not(
    cell: Any, run: Any, differ: list[str]
) -> None:
    def probe(augmentations: Any) -> dict[str, Any]:
        data = {"dataset": "cifar10", "augmentations": augmentations}
        return identity({"data": data, "optimizer": {"batch_size": 256}})

    assert [d.key for d in unlike(probe(cell), probe(run))] == differ
