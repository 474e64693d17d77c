# SPDX-License-Identifier: MIT
"""What of a table cannot be done here for want of images, told before anything is trained."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mixmask_solo.tables.missing import Missing

Paths = list[tuple[str, str]]  # keys and what they name
_KEYS = ("train_path", "train_images", "val_path", "val_images")
_PATTERN = frozenset("*?[{")  # names many files; opened, it says itself what it lacks


def image_paths(cfg: Mapping[str, Any]) -> Paths:
    """The files and folders of images that a composed configuration names."""
    found = []
    for key in _KEYS:
        value = (cfg.get("data") or {}).get(key)
        for path in value if isinstance(value, list) else [value]:
            if isinstance(path, str) and not _PATTERN & set(path):
                found.append((f"data.{key}", path))
    return found


def without_images(left: Iterable[Missing], *, take_off: bool) -> dict[str, str]:
    """Why cells cannot be filled, by their ids.

    ``take_off``: their measurements are taken off the trainings.
    """
    reasons: dict[str, str] = {}
    for run in left:
        training = run.training
        gone = "" if run.trained else _gone(training.paths)
        for evaluation in run.evaluations:
            paths = training.paths if evaluation.recipe is None else evaluation.paths
            if reason := gone or _gone(paths):
                reasons |= {cell.id: reason for cell in evaluation.cells}
                if take_off:
                    training.evaluations.remove(evaluation)
    return reasons


def _gone(paths: Paths) -> str:
    for key, path in paths:
        if not Path(path).expanduser().exists():
            return f"{key} is '{path}', which is not there: give it for its data set in --site FILE"
    return ""
