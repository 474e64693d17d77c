# SPDX-License-Identifier: MIT
"""What a run's ``result.json`` says of its k-NN in evaluation mode, whoever has measured it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mixmask_solo.config.files import read_json, write_json
from mixmask_solo.evaluation.run_knn import SOLO_LEARN
from mixmask_solo.records.checkpoints import LAST, checksum
from mixmask_solo.records.registry.record import RESULT

_KEYS = ("features", "distance", "k", "temperature", "acc1", "acc5")


def write_knn(folder: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    """Adds one row of a measurement to the ``result.json`` of a folder; returns what it added."""
    told = {"knn": {key: row[key] for key in _KEYS}}
    write_json(folder / RESULT, {**read_json(folder / RESULT), **told})
    return told


def record_knn(found: Mapping[str, Any]) -> bool:
    """Tells the run what ``mixmask-knn`` found, and returns whether it did.

    It does where solo-learn's protocol was measured, with the checkpoint that is the run's last one
    now, its online network and its own images, and nobody trains in that folder.
    """
    checkpoint = Path(str(found["checkpoint"]))
    folder = checkpoint.parent
    features, distance, [k], [temperature] = SOLO_LEARN
    wanted: dict[str, Any] = {"network": "trained", "features": features, "distance": distance}
    wanted |= {"k": k, "temperature": temperature}
    row = next((r for r in found["rows"] if wanted.items() <= r.items()), None)
    last = checkpoint.name == LAST and found["evaluate"] == "online"
    if row is None or not (last and found["own_images"] and (folder / RESULT).is_file()):
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            if f"{checksum(checkpoint):08x}" != found["crc32"]:  # the run has gone on meanwhile
                return False
            write_knn(folder, row)
    except (Timeout, OSError):
        return False
    return True
