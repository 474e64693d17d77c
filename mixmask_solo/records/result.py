# SPDX-License-Identifier: MIT
"""What ``result.json`` tells of the machine, the process and damaged images."""

import logging
import os
import platform
import socket
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mixmask_solo import __version__
from mixmask_solo.config.files import replacing
from mixmask_solo.data import Tolerance

log = logging.getLogger(__name__)

LIST = "damaged_images.txt"
_PACKAGES = ("torch", "torchvision", "lightning", "timm", "torchmetrics")
_SHOWN = 5
_DID = {"skip": "left out", "blank": "replaced by blank ones"}


def versions(device: torch.device) -> dict[str, str]:
    """Versions of everything a number may depend on, and the name of the device it was used on."""
    ours = {"python": platform.python_version(), "mixmask_solo": __version__}
    own = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    if device.type == "cpu":
        own = platform.processor()
    name = {"device": own or device.type}
    return ours | {package: version(package) for package in _PACKAGES} | name


def this_process() -> dict[str, Any]:
    """``pid`` and ``host``: with the heartbeat they tell whether a run is alive."""
    return {"pid": os.getpid(), "host": socket.gethostname()}


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def damage(tolerance: Tolerance, directory: Path | None = None) -> dict[str, Any]:
    """Counts a run's damaged images, warns of them in one line, lists them in its ``directory``.

    Returns ``data_errors``, how many distinct ones there are, and if any ``damaged_images``, the
    first of them with what their decoder said.
    """
    found = tolerance.damaged()
    if not found:
        return {"data_errors": 0}
    lines = [f"{name}: {reason}" for name, reason in found]
    names = [name for name, _ in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
    many, where = " was" if len(found) == 1 else "s were", ""
    if directory is not None:
        place = directory / LIST
        with replacing(place) as temporary:
            text = "".join(f"{line}\n" for line in lines)
            temporary.write_text(text, "utf-8", "backslashreplace")
        where = f"; all of them with reasons: {place}"
    log.warning(
        "%d damaged image%s %s (data.on_error=%s): %s%s",
        *(len(found), many, _DID[tolerance.on_error], tolerance.on_error),
        *(", ".join(names), where),
    )
    return {"data_errors": len(found), "damaged_images": lines[:_SHOWN]}
