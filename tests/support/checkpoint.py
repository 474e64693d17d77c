# SPDX-License-Identifier: MIT
"""The network in a checkpoint file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mixmask_solo.evaluation.network import load_network
from mixmask_solo.records.pretrained import read_pretrained

__all__ = ["load_pretrained"]


def load_pretrained(
    path: Path,
    backbone: Mapping[str, Any] | None = None,
    dataset: str | None = None,
    evaluate: str = "online",
) -> Any:
    """Its backbone, as k-NN and probes get it."""
    return load_network(read_pretrained(path, evaluate), backbone=backbone, dataset=dataset)
