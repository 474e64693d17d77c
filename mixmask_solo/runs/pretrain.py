# SPDX-License-Identifier: MIT
"""A pretraining run from configuration to ``result.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import ConfigError, resolve_pretrain
from mixmask_solo.config.nodes import to_values
from mixmask_solo.data import ImageData, build_pretrain
from mixmask_solo.host import load
from mixmask_solo.methods import get_method
from mixmask_solo.methods.refused import check_method, check_options
from mixmask_solo.runs.embedding import EmbeddingStd
from mixmask_solo.runs.init_from import beginning, initialise
from mixmask_solo.runs.knn_bank import judge_bank
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.train import train
from mixmask_solo.runs.trainer import trainer_keys
from mixmask_solo.strategies import blocks, fill_blocks

__all__ = ["completed", "pretrain", "resolve"]

_DERIVED = ("num_large_crops", "num_small_crops")  # keys of `data` that resolving adds


def resolve(cfg: DictConfig) -> DictConfig:
    """Checks everything that can be checked without data and fills in defaults.

    Raises:
        ConfigError: naming the key, its value, what is allowed.
    """
    check_method(cfg.get("method"))
    resolved = resolve_pretrain(
        cfg, blocks=blocks(), trainer_keys=trainer_keys(), visible=torch.cuda.device_count()
    )
    resolved.method_kwargs = fill_blocks(resolved)
    check_options(resolved.method, resolved.method_kwargs)
    _method(resolved)
    return resolved


def pretrain(cfg: DictConfig) -> dict[str, Any]:
    """Runs ``cfg`` and returns the content of its ``result.json`` plus ``directory``.

    Args:
        cfg: a composed, unresolved configuration (solo-learn's schema and ours).

    Raises:
        ConfigError: for anything wrong with the configuration or the data.
        Interrupted: after a signal, with the checkpoint saved.
        NonFiniteLoss: naming step, terms and the last good checkpoint.
    """
    cfg = resolve(cfg)
    images = build_pretrain(cfg)

    def build(run: Run, trainer: Trainer) -> tuple[LightningModule, ImageData]:
        seed_everything(int(cfg.seed), workers=True)
        model = _model(cfg)
        judge_bank(model, cfg, images, run.processes)
        if cfg.get("init_from") and run.checkpoint is None:
            initialise(model, cfg.init_from)
        return model, images

    return train(
        cfg,
        images,
        Path(cfg.checkpoint.dir) / str(cfg.method),
        build,
        host=load(cfg.host).name,
        completed=completed,
        extra=beginning(cfg.get("init_from")),
        callbacks=[EmbeddingStd()],
    )


def completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with the defaults that its version did not write down."""
    data = {k: v for k, v in (stored.get("data") or {}).items() if k not in _DERIVED}
    try:
        written = {**stored, "data": data, "resume_from_checkpoint": None}
        again = to_values(resolve(OmegaConf.create(written)))
    except ConfigError:  # of solo-learn alone, or of another machine: compared as it is
        return stored
    # resolving scales the learning rates, which in a stored configuration are scaled already
    optimizer = {**again["optimizer"], **stored["optimizer"]}
    return {**again, "optimizer": optimizer, "data": {**again["data"], **stored["data"]}}


def _method(cfg: DictConfig) -> type[Any]:
    try:
        return get_method(cfg.method, cfg.host)
    except (ImportError, ValueError) as error:  # hosts know nothing of our errors
        raise ConfigError(str(error)) from error


def _model(cfg: DictConfig) -> LightningModule:
    try:
        return _method(cfg)(cfg)
    except (ImportError, ValueError) as error:
        raise ConfigError(str(error)) from error
