# SPDX-License-Identifier: MIT
"""How many processes ``devices`` means; the learning rate is scaled by it."""

from __future__ import annotations

from mixmask_solo.config.errors import ConfigError

__all__ = ["count_devices", "read_devices"]

_ALLOWED = "give a number of devices, a list of their indices such as [0, 1], -1 or auto"


def read_devices(
    devices: int | list[int] | str, accelerator: str, visible: int | None
) -> int | list[int] | str:
    """Checks ``devices`` and brings it into a form that Lightning takes on this accelerator.

    Args:
        devices: as configured; text such as ``0,1`` is read as a list.
        accelerator: as configured.
        visible: number of accelerator devices of this machine, None if unknown.

    Raises:
        ConfigError: for an impossible value, or more devices than there are.
    """
    if isinstance(devices, str) and devices != "auto":
        devices = _parse(devices)
    wrong = (
        (isinstance(devices, int) and (devices == 0 or devices < -1))
        or devices == []
        or (isinstance(devices, list) and (min(devices) < 0 or len(set(devices)) < len(devices)))
    )
    if wrong:
        raise ConfigError(f"devices is {devices}: {_ALLOWED}")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and visible == 0)
    if on_cpu:
        # Lightning knows no indices of CPUs: [0] of solo-learn's files means one process there
        return count_devices(devices, 0)
    if accelerator in ("gpu", "cuda") and visible == 0:
        raise ConfigError(f"accelerator is {accelerator}: no such device is visible; set cpu")
    if visible and count_devices(devices, visible) > visible:
        raise ConfigError(f"devices is {devices}: {visible} are visible here")
    return devices


def count_devices(devices: int | list[int] | str, visible: int | None) -> int:
    """Processes per node.

    Args:
        devices: result of ``read_devices``.
        visible: what -1 and ``auto`` stand for; at least one.
    """
    if isinstance(devices, list):
        return len(devices)
    return devices if isinstance(devices, int) and devices > 0 else max(1, visible or 1)


def _parse(text: str) -> int | list[int]:
    try:
        indices = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ConfigError(f"devices is {text!r}: {_ALLOWED}") from None
    return indices[0] if len(indices) == 1 and "," not in text else indices
