# SPDX-License-Identifier: MIT
"""A tiny pretrained run on disk: host SimCLR on digits after two real steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import resolve_pretrain
from mixmask_solo.data import build_pretrain
from mixmask_solo.host import load
from support.methods import run_config


def fresh_method(cfg: DictConfig) -> Any:
    """The method as a run with this configuration starts it."""
    torch.manual_seed(int(cfg.seed))
    return load("builtin").methods[cfg.method](cfg)


def save_run(folder: Path, cfg: DictConfig, state: dict[str, torch.Tensor]) -> Path:
    """What solo-learn leaves behind: a checkpoint, and args.json beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": state, "epoch": 1}, folder / "last.ckpt")
    (folder / "args.json").write_text(json.dumps(OmegaConf.to_container(cfg)))
    return folder / "last.ckpt"


@pytest.fixture(scope="session")
def pretrain_cfg() -> DictConfig:
    """The resolved configuration of the run."""
    blocks = {"optimizer": {"batch_size": 32}, "backbone": {"name": "resnet10t"}}
    return resolve_pretrain(run_config("simclr", seed=3, **blocks))


@pytest.fixture(scope="session")
def run_folder(pretrain_cfg: DictConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run."""
    method = fresh_method(pretrain_cfg)
    optimizer = torch.optim.SGD(method.parameters(), 0.05)
    batches = iter(build_pretrain(pretrain_cfg).train_dataloader())
    for step in range(2):
        optimizer.zero_grad()
        method.training_step(next(batches), step).backward()
        optimizer.step()
    return save_run(tmp_path_factory.mktemp("run"), pretrain_cfg, method.state_dict()).parent


@pytest.fixture(scope="session")
def untrained_folder(pretrain_cfg: DictConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that saved its start."""
    method = fresh_method(pretrain_cfg)
    return save_run(tmp_path_factory.mktemp("start"), pretrain_cfg, method.state_dict()).parent
