# SPDX-License-Identifier: MIT
"""Fine-tuning a detector, from configuration to ``result.json``."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer, seed_everything
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mixmask_solo.config import ConfigError, resolve_detect, to_values
from mixmask_solo.config.datasets import DATASETS, IMAGENET_MEAN, IMAGENET_STD
from mixmask_solo.config.files import write_json
from mixmask_solo.data.detection.module import DetectionData
from mixmask_solo.evaluation.detection.coco_metric import require_pycocotools
from mixmask_solo.evaluation.detection.detector import build_detector
from mixmask_solo.evaluation.detection.predictions import Prediction
from mixmask_solo.evaluation.detection.shown import shown
from mixmask_solo.evaluation.detection.training import Detection
from mixmask_solo.evaluation.network import load_network
from mixmask_solo.host.builtin.backbones import actual_stem, build_backbone
from mixmask_solo.methods import filter_inputs
from mixmask_solo.records.checkpoints import checksum
from mixmask_solo.records.pretrained import START, Pretrained, read_pretrained
from mixmask_solo.records.weights import backbone_block
from mixmask_solo.runs.run import Run
from mixmask_solo.runs.start import name_file
from mixmask_solo.runs.train import train
from mixmask_solo.runs.trainer import trainer_keys

DETECTIONS = "detections.json"


def detect(cfg: DictConfig) -> dict[str, Any]:
    """Runs a composed, unresolved configuration of ``mixmask-detect``.

    The run's folder holds ``detections.json``, too: what the last measurement found in the first
    ``pictures`` validation images, and ``step``, at which that was.

    Returns and raises what :func:`~mixmask_solo.runs.pretrain.pretrain` does.
    """
    require_pycocotools()
    cfg, pretrained = resolve(cfg)
    backbone = _backbone(cfg, pretrained)
    cfg.backbone.stem = actual_stem(backbone)
    images = DetectionData(cfg)

    def build(
        run: Run, trainer: Trainer, announce: Callable[[], None]
    ) -> tuple[LightningModule, LightningDataModule]:
        if len(images.val_source) < trainer.world_size:
            raise ConfigError(
                f"data.val_path has {len(images.val_source)} images for {trainer.world_size} "
                "processes, each of which measures some: set devices to fewer"
            )
        seed_everything(int(cfg.seed), workers=True)
        detector = build_detector(backbone, cfg, images.num_classes, _filters(pretrained))
        announce()

        def keep(found: Sequence[Prediction]) -> None:
            """With each measurement: a run that is killed behind its last one has it."""
            if run.writes and found and cfg.pictures:
                some = shown(images.val_source, found, int(cfg.pictures))
                write_json(run.directory / DETECTIONS, {"step": trainer.global_step, **some})

        return Detection(detector, cfg, images.val_source, keep), images

    return train(
        cfg,
        images,
        Path(cfg.checkpoint.dir) / "detect",
        build,
        subject=_subject(cfg),
        host="builtin",
        completed=lambda stored: stored,
        extra={} if pretrained is None else {"weights": {"checksum": checksum(pretrained.path)}},
        callbacks=[],
        more=partial(_more, cfg, images, pretrained),
    )


def resolve(cfg: Any, visible: int | None = None) -> tuple[DictConfig, Pretrained | None]:
    """Checks everything that can be checked without data, and reads the checkpoint.

    Returns the resolved configuration, its ``backbone`` block that of the checkpoint, and the
    latter, None for random weights; raises ConfigError naming the key, its value, what is allowed.
    """
    values: dict[str, Any] = dict(to_values(cfg) or {})
    given = values.get("backbone")
    name_file(values)
    visible = torch.cuda.device_count() if visible is None else visible
    resolved = resolve_unread(values, visible=visible)
    if resolved[START] is None:
        _fill_statistics(resolved, {})
        return resolved, None
    try:
        pretrained = read_pretrained(resolved[START], resolved.evaluate)
    except ConfigError as error:
        raise ConfigError(f"{START}: {error}") from error
    resolved.backbone = backbone_block(pretrained, given)
    facts = DATASETS.get(str(pretrained.data.get("dataset")))
    told = {} if facts is None else {"mean": [*facts.mean], "std": [*facts.std]}
    _fill_statistics(resolved, {**told, **pretrained.view})
    return resolved, pretrained


def resolve_unread(cfg: Any, visible: int | None = None) -> DictConfig:
    """The same without a look at the checkpoint, which backbone and statistics may follow from.

    ``visible``: devices of the machine that it is for; None where nobody knows.
    """
    return resolve_detect(dict(to_values(cfg) or {}), trainer_keys=trainer_keys(), visible=visible)


def _fill_statistics(cfg: DictConfig, told: dict[str, Any]) -> None:
    """Of the images: as given, else as pretrained with, else ImageNet's."""
    for key, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        if cfg.data[key] is None:
            cfg.data[key] = [*(told.get(key) or usual)]


def _backbone(cfg: DictConfig, pretrained: Pretrained | None) -> nn.Module:
    """On the CPU; a random one is drawn from the run's seed."""
    if pretrained is not None:
        return load_network(pretrained, backbone=cfg.backbone, dataset="imagenet")
    block = OmegaConf.create({"backbone": cfg.backbone, "data": {"dataset": "imagenet"}})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(cfg.seed))
        try:
            return build_backbone(block)
        except (ValueError, TypeError) as error:
            raise ConfigError(str(error)) from error


def _filters(pretrained: Pretrained | None) -> Callable[[nn.Module], Any]:
    if pretrained is None:
        return lambda module: None
    return lambda module: filter_inputs(module, pretrained.config, pretrained.filters)


def _subject(cfg: DictConfig) -> str:
    kind = "Mask R-CNN" if cfg.detector.mask else "Faster R-CNN"
    kind = f"{kind} ({cfg.backbone.name}, {str(cfg.detector.name).upper()})"
    if cfg[START] is None:
        return f"{kind} from random weights"
    momentum = "the momentum network of " if cfg.evaluate == "momentum" else ""
    return f"{kind} on {momentum}{cfg[START]}"


def _more(cfg: DictConfig, images: DetectionData, pretrained: Pretrained | None) -> dict[str, Any]:
    """Entries of the result: what was passed over, and what filters inputs."""
    filters: Sequence[str] | None = [] if pretrained is None else pretrained.filters
    start = "random" if pretrained is None else "pretrained"
    return {"faults": images.faults(), "input_filters": filters, "start": start}
