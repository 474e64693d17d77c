# SPDX-License-Identifier: MIT
"""What ``devices`` may be, and how many processes that means."""

from __future__ import annotations

from typing import Any

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.config.rules import count_devices, read_devices


@pytest.mark.parametrize(
    ("devices", "accelerator", "visible", "expected"),
    [
        ([0], "cpu", None, 1),
        ([0, 1], "auto", 0, 2),
        ("auto", "cpu", 4, 1),
        ([0, 1], "gpu", 2, [0, 1]),
        ("0,1", "gpu", None, [0, 1]),
        ("2", "gpu", None, 2),
        ("0,", "gpu", None, [0]),
        ("auto", "gpu", 4, "auto"),
    ],
)
def test_devices_take_a_form_that_lightning_knows(
    devices: Any, accelerator: str, visible: int | None, expected: Any
) -> None:
    assert read_devices(devices, accelerator, visible) == expected


@pytest.mark.parametrize(
    ("devices", "accelerator", "visible", "match"),
    [
        (4, "gpu", 2, "devices is 4: 2 are visible"),
        (1, "gpu", 0, "accelerator is gpu: no such device is visible"),
        ([], "gpu", 1, r"devices is \[\]"),
        (-2, "cpu", 0, "devices is -2"),
    ],
)
def test_devices_that_are_not_there(
    devices: Any, accelerator: str, visible: int, match: str
) -> None:
    with pytest.raises(ConfigError, match=match):
        read_devices(devices, accelerator, visible)


def test_auto_means_what_is_visible_and_at_least_one() -> None:
    assert [count_devices("auto", visible) for visible in (None, 0, 3)] == [1, 1, 3]
