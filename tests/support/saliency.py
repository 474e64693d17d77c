# SPDX-License-Identifier: MIT
"""A localiser of a few weights, and the block that takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision

__all__ = ["block", "localizer_file", "run_folder", "torchvisions"]


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


def run_folder(path: Path) -> Path:
    """What a run on digits leaves behind, as far as a localiser asks."""
    state = timm.create_model("resnet10t", num_classes=0).state_dict()
    path.mkdir(parents=True)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in state.items()}}, path / "last.ckpt")
    backbone = {"name": "resnet10t", "kwargs": {}, "stem": "auto", "stem_padding": 2}
    config = {"method": "simclr", "backbone": backbone, "data": {"dataset": "digits"}}
    (path / "args.json").write_text(json.dumps(config))
    return path


def torchvisions(home: Path, name: str = "resnet50") -> Path:
    """Its default weights of a network, all zero, where it keeps what it has downloaded."""
    url = torchvision.models.get_model_weights(name).DEFAULT.url
    file = home / "hub" / "checkpoints" / url.rpartition("/")[2]
    file.parent.mkdir(parents=True)
    with torch.device("meta"):
        state = getattr(torchvision.models, name)().state_dict()
    zeros = {k: torch.zeros((), dtype=t.dtype).expand(t.shape) for k, t in state.items()}
    torch.save({k: t.contiguous() for k, t in zeros.items()}, file)
    return file
