# SPDX-License-Identifier: MIT
"""Names of classes where the storage holds numbers."""

from __future__ import annotations

from collections.abc import Iterable

from mixmask_solo.data.sources.base import Labels
from mixmask_solo.data.sources.request import Request

__all__ = ["complete", "known_names"]


def complete(classes: list[str], labels: Labels, request: Request) -> list[str]:
    """Classes for all labels: numbers as names where there are none, nothing without labels.

    Raises:
        ConfigError: for a label beyond the classes.
    """
    top = int(labels.max())
    if not classes:
        return [str(label) for label in range(top + 1)]
    if top >= len(classes):
        raise request.wrong(f"label {top} in it, but there are only {len(classes)} classes")
    return classes


def known_names(lines: Iterable[str]) -> list[str]:
    """The names of a list of classes, one a line."""
    return [line.strip() for line in lines if line.strip()]
