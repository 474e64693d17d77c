# SPDX-License-Identifier: MIT
"""A localiser of a few weights, and the block that takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch

__all__ = ["block", "localizer_file"]


def localizer_file(path: Path, name: str = "resnet10t", seed: int = 3) -> Path:
    """Mere weights of a network of timm, drawn and not trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm.create_model(name, num_classes=0)
    for module in network.modules():  # statistics that a pass in training mode would change
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), path)
    return path


def block(file: Path, stage: int = 1, **more: Any) -> dict[str, Any]:
    """The block ``saliency``; the first stages have maps of many cells for small images."""
    localizer = {"weights": str(file), "backbone": {"name": "resnet10t"}, "stage": stage}
    return {"localizer": {**localizer, **more.pop("localizer", {})}, **more}
