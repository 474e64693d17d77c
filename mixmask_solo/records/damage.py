# SPDX-License-Identifier: MIT
"""What is said at the end of a run about images that could not be read."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from mixmask_solo.data import Tolerance

__all__ = ["LIST", "damage"]

log = logging.getLogger(__name__)

LIST = "damaged_images.txt"
_SHOWN = 5
_DID = {"skip": "left out", "blank": "replaced by blank ones"}


def damage(tolerance: Tolerance, directory: Path | None = None) -> dict[str, Any]:
    """Counts a run's damaged images, warns of them in one line, lists them in its ``directory``.

    Returns:
        Entries for ``result.json``: ``data_errors``, the number of distinct damaged images, and
        where there are any ``damaged_images``, the first of them with what their decoder said.
    """
    found = tolerance.damaged()
    if not found:
        return {"data_errors": 0}
    lines = [f"{name}: {reason}" for name, reason in found]
    names = [name for name, _ in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
    many, where = " was" if len(found) == 1 else "s were", ""
    if directory is not None:
        place = directory / LIST
        place.write_text("".join(f"{line}\n" for line in lines), "utf-8", "backslashreplace")
        where = f"; all of them with reasons: {place}"
    log.warning(
        "%d damaged image%s %s (data.on_error=%s): %s%s",
        *(len(found), many, _DID[tolerance.on_error], tolerance.on_error),
        *(", ".join(names), where),
    )
    return {"data_errors": len(found), "damaged_images": lines[:_SHOWN]}
