# SPDX-License-Identifier: MIT
"""Fine-tuning, or the same from scratch, from configuration to ``result.json``."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig
from torch import nn

from mixmask_solo.config import ConfigError, resolve_finetune, to_values
from mixmask_solo.config.schema.data import LABELS
from mixmask_solo.data import ImageData, build_finetuning
from mixmask_solo.evaluation.finetuned import build_finetuned
from mixmask_solo.evaluation.network import load_network, new_backbone
from mixmask_solo.evaluation.probe import BestEpoch
from mixmask_solo.host.builtin.backbones import actual_stem
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import START, Pretrained
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.start import name_file, read_start
from mixmask_solo.runs.train import train
from mixmask_solo.runs.trainer import trainer_keys


def finetune(cfg: DictConfig) -> dict[str, Any]:
    """Runs a composed, unresolved configuration of ``mixmask-finetune``.

    Returns and raises what :func:`~mixmask_solo.runs.pretrain.pretrain` does.
    """
    cfg, pretrained = resolve(cfg)
    backbone = _backbone(cfg, pretrained)
    cfg.backbone.stem = actual_stem(backbone)  # `auto` would mean this run's data set from here on
    images, best = build_finetuning(cfg), BestEpoch()

    def build(
        run: Run, trainer: Trainer, announce: Callable[[], None]
    ) -> tuple[LightningModule, LightningDataModule]:
        _refuse_lone_image(images, trainer.world_size)
        announce()
        seed_everything(int(cfg.seed), workers=True)
        return build_finetuned(backbone, cfg), images

    told: dict[str, Any] = {"from_scratch": pretrained is None}
    if pretrained is not None:
        told["input_filters"] = pretrained.filters
    return train(
        cfg,
        images,
        Path(cfg.checkpoint.dir) / "finetune",
        build,
        subject=subject(cfg),
        host="builtin",
        completed=dict,
        extra={} if pretrained is None else {"weights": {"checksum": checksum(pretrained.path)}},
        callbacks=[best],
        more=lambda: {**best.best, **told},
    )


def _backbone(cfg: DictConfig, pretrained: Pretrained | None) -> nn.Module:
    if pretrained is None:
        return new_backbone(cfg.backbone, cfg.data.dataset, int(cfg.seed))
    return load_network(pretrained, backbone=cfg.backbone, dataset=cfg.data.dataset)


def _refuse_lone_image(images: ImageData, world: int) -> None:
    """A kept last batch of one image a process: BatchNorm in training mode has no use for it."""
    whole, count = images.batch_size * world, len(images.opened)
    if images.block.get("last_batch") == "keep" and 0 < count % whole <= world:
        raise ConfigError(
            f"data.last_batch is keep: the last batch of {count:,} training images has one image "
            "in a process, of which BatchNorm learns nothing; set data.last_batch=drop, or another "
            "optimizer.batch_size"
        )


def subject(cfg: DictConfig) -> str:
    """What a run trains, on which labels, for its banner."""
    momentum = "the momentum network of " if cfg.evaluate == "momentum" else ""
    start = (
        "training from scratch" if cfg[START] is None else f"fine-tuning of {momentum}{cfg[START]}"
    )
    fraction, labels = float(cfg.data.fraction), f"labels {cfg.data.labels}"
    if fraction not in (-1, 1):
        of = "" if cfg.data.labels == "100percent" else f", {labels}"
        labels = f"{100 * fraction:g} % of each class{of}"
    return f"{start} ({cfg.backbone.name}), {labels}"


def resolve(cfg: Any) -> tuple[DictConfig, Pretrained | None]:
    """Checks everything that can be checked without data, and reads the checkpoint.

    Returns the resolved configuration and the checkpoint, None from scratch; raises ConfigError
    naming the key, its value, what is allowed.
    """
    values: dict[str, Any] = dict(to_values(cfg) or {})
    name_file(values)
    resolved = resolve_unread(values, visible=torch.cuda.device_count())
    if resolved[START] is None:
        return resolved, None
    return resolved, read_start(resolved, values)


def resolve_unread(cfg: Any, visible: int | None = None) -> DictConfig:
    """The same without a look at the checkpoint, whose ``backbone`` block and view are missing.

    ``visible``: devices of the machine that it is for; None where nobody knows.
    """
    values: dict[str, Any] = dict(to_values(cfg) or {})
    if values.get(START) is not None:
        values["backbone"] = values.get("backbone") or {"name": "resnet18"}  # the file's follows
    resolved = resolve_finetune(values, trainer_keys=trainer_keys(), visible=visible)
    if resolved.data.labels not in LABELS:  # what is stored tells which file it was
        resolved.data.labels = os.path.abspath(os.path.expanduser(resolved.data.labels))
    return resolved
