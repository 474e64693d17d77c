# SPDX-License-Identifier: MIT
"""How many processes ``devices`` means; the learning rate is scaled by it."""

from mixmask_solo.config.errors import ConfigError

_ALLOWED = "give a number of devices, a list of their indices such as [0, 1], -1 or auto"


def read_devices(
    devices: int | list[int] | str, accelerator: str, visible: int | None
) -> int | list[int] | str:
    """Checks ``devices`` and brings it into a form that Lightning takes on this accelerator.

    Text such as ``0,1`` is read as a list; ``visible`` is None where nobody knows.

    Raises:
        ConfigError: for an impossible value, or more devices than there are.
    """
    if isinstance(devices, str) and devices != "auto":
        try:
            indices = [int(part) for part in devices.split(",") if part.strip()]
        except ValueError:
            raise ConfigError(f"devices is {devices!r}: {_ALLOWED}") from None
        devices = indices if "," in devices or not indices else indices[0]
    if isinstance(devices, list):
        wrong = not devices or min(devices) < 0 or len(set(devices)) < len(devices)
    else:
        wrong = devices != "auto" and (devices == 0 or int(devices) < -1)
    if wrong:
        raise ConfigError(f"devices is {devices}: {_ALLOWED}")
    if accelerator == "cpu" or (accelerator == "auto" and visible == 0):
        # Lightning knows no indices of CPUs: [0] of solo-learn's files means one process there
        return count_devices(devices, 0)
    if accelerator in ("gpu", "cuda") and visible == 0:
        raise ConfigError(f"accelerator is {accelerator}: no such device is visible; set cpu")
    if visible and count_devices(devices, visible) > visible:
        raise ConfigError(f"devices is {devices}: {visible} are visible here")
    return devices


def count_devices(devices: int | list[int] | str, visible: int | None) -> int:
    """Processes per node; -1 and ``auto`` stand for the ``visible`` ones, at least one."""
    if isinstance(devices, list):
        return len(devices)
    return devices if isinstance(devices, int) and devices > 0 else max(1, visible or 1)
