# SPDX-License-Identifier: MIT
"""``result.json``: what a run was, what it ran on, what came out, and whether it is alive."""

from __future__ import annotations

import os
import platform
import socket
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

__all__ = ["RESULT", "now", "this_process", "versions"]

RESULT = "result.json"
_PACKAGES = ("mixmask_solo", "torch", "torchvision", "lightning", "timm", "torchmetrics")


def versions() -> dict[str, str]:
    """Versions of everything a number may depend on, and the device."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return found | {"device": gpu or platform.processor() or "cpu"}


def this_process() -> dict[str, Any]:
    """``pid`` and ``host``: with the heartbeat they tell whether a run is alive."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
