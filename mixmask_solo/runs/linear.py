# SPDX-License-Identifier: MIT
"""A linear probe, or fine-tuning, from configuration to ``result.json``."""

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from mixmask_solo import screen
from mixmask_solo.config import ConfigError, check, resolve_linear, to_values
from mixmask_solo.config.rules import count_devices
from mixmask_solo.config.schema.optimizer import HEADS
from mixmask_solo.data import ImageData, build_classification
from mixmask_solo.evaluation.features import CachedFeatures, extract
from mixmask_solo.evaluation.head_table import HeadTable
from mixmask_solo.evaluation.heads import Head, build_heads, heads_of
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.evaluation.probe import BestEpoch, Identity, ProbeOptions
from mixmask_solo.host.builtin.backbones import actual_stem
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import START, Pretrained
from mixmask_solo.runs.contradictions import per_256
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.start import name_file, read_start
from mixmask_solo.runs.train import train
from mixmask_solo.runs.trainer import trainer_keys

_MOST = 64  # heads: each has columns of its own in metrics.csv
_HOLDOUT = 0.1  # share of the training images that tells which of several heads is the best


def linear(cfg: DictConfig) -> dict[str, Any]:
    """Runs a composed, unresolved configuration (solo-learn's schema, and the block ``probe``).

    Returns and raises what :func:`~mixmask_solo.runs.pretrain.pretrain` does.
    """
    cfg, pretrained = resolve(cfg)
    backbone = load_network(pretrained, backbone=cfg.backbone, dataset=cfg.data.dataset)
    cfg.backbone.stem = actual_stem(backbone)  # `auto` would mean this run's data set from here on
    images, heads = build_classification(cfg), _as_written(cfg)
    best = HeadTable(heads) if len(heads) > 1 else BestEpoch()

    def build(
        run: Run, trainer: Trainer, announce: Callable[[], None]
    ) -> tuple[LightningModule, LightningDataModule]:
        announce()
        data, features = _inputs(cfg, trainer, backbone, images)
        seed_everything(int(cfg.seed), workers=True)
        return build_heads(features, cfg), data

    return train(
        cfg,
        images,
        Path(cfg.checkpoint.dir) / "linear",
        build,
        subject=_subject(cfg),
        host="builtin",
        completed=lambda stored: _completed({**_filters(cfg), **stored}),
        extra={"weights": {"checksum": checksum(pretrained.path)}},
        callbacks=[best],
        more=lambda: {**best.told(), "input_filters": pretrained.filters},
    )


def _subject(cfg: DictConfig) -> str:
    count = len(heads_of(cfg))
    probe = "a probe" if count == 1 else f"{count} probes at once"
    kind = "fine-tuning of" if cfg.finetune else f"{probe} on {cfg.probe.features} features of"
    momentum = "the momentum network of " if cfg.evaluate == "momentum" else ""
    return f"{kind} {momentum}{cfg[START]} ({cfg.backbone.name})"


def _as_written(cfg: DictConfig) -> list[Head]:
    """The heads, with rates per 256 images."""
    processes = count_devices(cfg.devices, torch.cuda.device_count()) * cfg.num_nodes
    images = int(cfg.optimizer.batch_size) * processes
    return [head._replace(lr=per_256(head.lr, images)) for head in heads_of(cfg)]


def _filters(cfg: DictConfig) -> dict[str, Any]:
    """What stays of the pretraining's ``method_kwargs``, which older records of probes lack."""
    return {"method_kwargs": to_values(cfg.method_kwargs)} if "method_kwargs" in cfg else {}


def _completed(stored: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with the defaults that its version did not write down."""
    probe = {**_stored(ProbeOptions()), **(stored.get("probe") or {})}
    performance = {"compile": False, "tf32": False, **(stored.get("performance") or {})}
    return {**stored, "probe": probe, "performance": performance}


def _stored(probe: ProbeOptions) -> dict[str, Any]:
    """The block as it is recorded: what is off is left out, so that a record made before there was
    such a key says the same."""
    return {k: v for k, v in asdict(probe).items() if v not in (None, False, "auto")}


def resolve(cfg: Any) -> tuple[DictConfig, Pretrained]:
    """Checks everything that can be checked without data, and reads the checkpoint.

    Returns the resolved configuration, its ``backbone`` block that of the checkpoint, and the
    latter; raises ConfigError naming the key, its value, what is allowed.
    """
    values: dict[str, Any] = dict(to_values(cfg) or {})
    name_file(values)
    resolved = resolve_unread(values, visible=torch.cuda.device_count())
    return resolved, read_start(resolved, values)


def resolve_unread(cfg: Any, visible: int | None = None) -> DictConfig:
    """The same without a look at the checkpoint, whose ``backbone`` block and view are missing.

    ``visible``: devices of the machine that it is for; None where nobody knows.
    """
    values: dict[str, Any] = dict(to_values(cfg) or {})
    probe = check(values.pop("probe", None), ProbeOptions, "probe")
    values["backbone"] = values.get("backbone") or {"name": "resnet18"}  # the checkpoint's follows
    resolved = resolve_linear(values, trainer_keys=trainer_keys(), visible=visible)
    resolved.probe = _stored(probe)
    heads = len(heads_of(resolved))
    if probe.holdout == "auto" and heads > 1:
        resolved.probe.holdout = _HOLDOUT
    _check_probe(resolved)
    if heads > 1:
        _check_heads(resolved, heads)
    return resolved


def _check_probe(cfg: DictConfig) -> None:
    if cfg.auto_augment:
        raise ConfigError("auto_augment is true: it is not implemented; leave it out")
    mixes = "only images can be mixed"
    why = {"finetune": "cached features train no backbone", "mixup": mixes, "cutmix": mixes}
    for key in why:
        if cfg[key] and cfg.probe.features == "cached":
            raise ConfigError(
                f"{key} is {str(cfg[key]).lower()} and probe.features is cached: {why[key]}; "
                "set probe.features=augmented"
            )


def _check_heads(cfg: DictConfig, count: int) -> None:
    """Refuses what would make one of several heads depend on the others."""
    listed = next(key for key in HEADS if isinstance(OmegaConf.select(cfg, key), ListConfig))
    if count > _MOST:
        raise ConfigError(
            f"{' x '.join(HEADS)} gives {count} heads: at most {_MOST} train at once; give fewer "
            "values, or several runs"
        )
    why = {
        "finetune": "each would need a backbone of its own",
        "gradient_clip_val": "the norm of all heads' gradients together would be clipped",
    }
    for key, reason in why.items():
        if cfg.get(key):
            raise ConfigError(
                f"{listed} is a list and {key} is {str(cfg[key]).lower()}: {reason}; give one "
                f"value, or sweep over several runs with -m"
            )
    if str(cfg.precision) in ("16", "16-mixed"):
        raise ConfigError(
            f"{listed} is a list and precision is {cfg.precision}: an overflow of one head would "
            "cost all of them a step; use bf16-mixed or 32"
        )


def _inputs(
    cfg: DictConfig, trainer: Trainer, backbone: nn.Module, images: ImageData
) -> tuple[LightningDataModule, nn.Module]:
    """Images with the backbone, or its features with a placeholder for it."""
    if cfg.probe.features == "augmented":
        return images, backbone
    if trainer.world_size > 1:
        raise ConfigError(
            f"devices is {cfg.devices} and probe.features is cached: features are cached in one "
            "process; set devices=1"
        )
    device = images.network_device = trainer.strategy.root_device
    train, val = images.features_dataloaders()
    loaders = {"training": train, "validation": val, "held out": images.held_out_dataloader()}
    sets = {
        split: extract(backbone, x, device, watch=partial(screen.track, label=f"features, {split}"))
        for split, x in loaders.items()
        if x is not None
    }
    train, val, *held = ((features["backbone"], labels) for features, labels in sets.values())
    batch, seed = int(cfg.optimizer.batch_size), int(cfg.seed)
    data = CachedFeatures(train, val, batch, seed, *held)
    return data, Identity(train[0].shape[1])
