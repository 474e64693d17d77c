# SPDX-License-Identifier: MIT
"""The same images augmented by every decoder, one below the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mixmask_solo.bench.data_bench import alone, variants
from mixmask_solo.config import ConfigError, listing, require_known
from mixmask_solo.data import ImageData, ImageError, build_pretrain
from mixmask_solo.data.sources.storage import DECODERS
from mixmask_solo.report.grid import Row, Section, draw, rgb, unnormalised

NAMES = ("pil", *DECODERS)
_VIEWS = 2  # shown of each pipeline
_NOTE = "Training views of epoch 0. dali and resident share random numbers, pil draws others."
_STORED_EDGE = 512  # pixels, more than the picture has for an image


class _FirstBatch(NamedTuple):
    label: str
    data: ImageData
    indexes: list[int]
    views: list[Tensor]  # (n, 3, H, W) within [0, 1]


def compare(cfg: DictConfig, out: Path, names: Sequence[str], *, n: int = 8) -> dict[str, str]:
    """Draws ``n`` stored images and, below them, their views of epoch 0 by decoders of ``NAMES``.

    Returns the decoders that cannot run here, so are not in the picture, and why. Raises
    ConfigError for anything wrong with the unresolved ``cfg`` or the images, or where none can run.
    """
    if not names:
        raise ConfigError(f"--decoder is empty: choose {listing((*NAMES, 'all'))}")
    for name in names:
        require_known("--decoder", name, (*NAMES, "all"))
    wanted = [name for name in NAMES if name in names or "all" in names]
    cfg = alone(cfg)
    made: list[_FirstBatch] = []
    missing: dict[str, str] = {}
    for name, variant in variants(cfg, wanted).items():
        try:
            made.append(_first_batch(name, variant, n))
        except (ConfigError, ImageError, ImportError) as error:
            missing[name] = str(error)
    if not made:
        named = "; ".join(f"{name}: {why}" for name, why in missing.items())
        same, *others = set(missing.values())
        raise ConfigError(f"no decoder can make these views: {named}" if others else same)
    *sections, last = _sections(cfg, made)
    draw([*sections, last._replace(note=_NOTE)], out, smooth=True)
    return missing


def _first_batch(name: str, cfg: DictConfig, n: int) -> _FirstBatch:
    changes: dict[str, Any] = {"val_path": None}
    if name != "resident":  # which decodes everything; the others make one small batch
        changes["num_workers"] = 0
    data = build_pretrain(OmegaConf.merge(cfg, {"data": changes}))
    data.batch_size = min(n, data.batch_size, len(data.opened))
    data.prepare_data()
    indexes, views, _ = next(iter(data.train_dataloader()))
    pipelines = [pipeline for pipeline in data.pipelines for _ in range(pipeline.num_crops)]
    shown = [unnormalised(*pair) for pair in zip(views, pipelines, strict=True)]
    on_gpu = getattr(data.decoder, "on_gpu", None)
    label = f"{name} {'gpu' if on_gpu(data) else 'cpu'}" if on_gpu else name
    return _FirstBatch(label, data, indexes.tolist(), shown)


def _sections(cfg: DictConfig, made: Sequence[_FirstBatch]) -> list[Section]:
    """The stored images, then each view."""
    first = made[0]
    stored = _stored(first)
    aspect = min(1.0, max(image.shape[0] / image.shape[1] for image in stored))
    sections = [Section(f"Stored images ({cfg.data.dataset})", [Row("stored", stored)], aspect)]
    number = 0
    for pipeline in first.data.pipelines:
        for view in range(number, number + min(pipeline.num_crops, _VIEWS)):
            title = f"View {view + 1}: {pipeline.key}, pipeline {pipeline.name}"
            rows = [Row(one.label, list(rgb(one.views[view]))) for one in made]
            sections.append(Section(f"{title}, {pipeline.crop_size}×{pipeline.crop_size}", rows))
        number += pipeline.num_crops
    return sections


def _stored(made: _FirstBatch) -> list[Tensor]:
    """(H, W, 3) within [0, 1], of any sizes."""
    data, images = made.data, []
    for index in made.indexes:
        _, image = data.reader(data.opened).pick(index, epoch=0)
        image.thumbnail((_STORED_EDGE, _STORED_EDGE))
        images.append(torch.from_numpy(np.array(image)) / 255)
    return images
