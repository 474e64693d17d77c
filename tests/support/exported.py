# SPDX-License-Identifier: MIT
"""Checkpoints whose weights are the same on every machine, without a training."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from omegaconf import OmegaConf
from torch import Tensor, nn

from mixmask_solo.methods import get_methods
from mixmask_solo.records.checkpoints import FILTERS, META
from mixmask_solo.runs.pretrain import resolve
from support.methods import run_config

__all__ = ["moco_file", "run_file", "seeded"]


def seeded(name: str, like: Tensor) -> Tensor:
    """A tensor of that shape and dtype, by its name alone; networks of such stay finite."""
    draw = np.random.RandomState(zlib.crc32(name.encode()))
    if like.dtype == torch.int64:
        return torch.tensor(draw.randint(1000))
    values = draw.random_sample(tuple(like.shape))
    if like.dim() > 1:
        values = (values - 0.5) * np.sqrt(24 / values[0].size)
    elif not name.endswith(("bias", "running_mean")):
        values = values + 0.5
    return torch.from_numpy(np.asarray(values, np.float32))


def run_file(folder: Path, method: str, kwargs: Any = None, **blocks: Any) -> Path:
    """A checkpoint as a run of ours writes it, as far as it concerns other code."""
    cfg = resolve(run_config(method, kwargs, **blocks))
    cfg.data.num_classes = 10
    model = get_methods("builtin")[method](cfg)
    state = {k: seeded(k, v) for k, v in model.state_dict().items()}
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    filters = ["mscn"] if "mscn" in cfg.method_kwargs else []
    told = {"config": json.dumps(config), FILTERS: filters, "id": "0123456789ab"}
    torch.save({"state_dict": state, "epoch": 1, META: told}, folder / "last.ckpt")
    return folder / "last.ckpt"


def moco_file(folder: Path, name: str = "resnet50") -> Path:
    """A checkpoint of MoCo v2's own code: query, key, their projectors in the place of ``fc``."""
    network = getattr(torchvision.models, name)()
    inputs = network.fc.in_features
    network.fc = nn.Sequential(nn.Linear(inputs, inputs), nn.ReLU(), nn.Linear(inputs, 128))
    query = {k: seeded(k, v) for k, v in network.state_dict().items()}
    both = {f"module.encoder_q.{k}": v for k, v in query.items()}
    both |= {f"module.encoder_k.{k}": v / 2 for k, v in query.items() if v.dim()}
    torch.save({"arch": name, "epoch": 200, "state_dict": both}, folder / "moco.pth.tar")
    return folder / "moco.pth.tar"
