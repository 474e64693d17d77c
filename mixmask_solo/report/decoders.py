# SPDX-License-Identifier: MIT
"""The same images augmented by every decoder, one below the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mixmask_solo.bench.data_bench import alone, require_known, variants
from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import data_block
from mixmask_solo.config.errors import listing
from mixmask_solo.data import ImageData, ImageError, build_pretrain
from mixmask_solo.data.sources import read
from mixmask_solo.data.sources.storage import DECODERS
from mixmask_solo.report.grid import Row, Section, draw, rgb, unnormalised

NAMES = ("pil", *DECODERS)
_VIEWS = 2  # shown of each pipeline
_STORED_EDGE = 512  # pixels, more than the picture has for an image


class _Made(NamedTuple):
    """First batch of a decoder."""

    label: str
    data: ImageData
    indexes: list[int]
    views: list[Tensor]  # (n, 3, H, W) within [0, 1]


def compare(cfg: DictConfig, out: Path, names: Sequence[str], *, n: int = 8) -> dict[str, str]:
    """Draws stored images and, below them, their training views of epoch 0 by each decoder.

    Args:
        cfg: a composed, unresolved pretraining configuration; its storage is what all read.
        names: some of ``NAMES``, or ``all``.
        n: images to show; fewer where a batch or the data set has fewer.

    Returns:
        The decoders that cannot run here, so are not in the picture, and why.

    Raises:
        ConfigError: for unknown names, anything wrong with the configuration or the images, or
            when no decoder can run.
    """
    if not names:
        raise ConfigError(f"--decoder is empty: choose {listing((*NAMES, 'all'))}")
    require_known("--decoder", names, (*NAMES, "all"))
    wanted = [name for name in NAMES if name in names or "all" in names]
    cfg = alone(cfg)
    source = read(data_block(cfg), "pretrain")
    assert source is not None, "only a val split may be absent"
    batch = min(n, int(cfg.optimizer.batch_size), len(source))
    made: list[_Made] = []
    missing: dict[str, str] = {}
    for name, variant in variants(cfg, wanted).items():
        small: dict[str, Any] = {"optimizer": {"batch_size": batch}, "data": {"val_path": None}}
        if name != "resident":  # which decodes everything; the others make one small batch
            small["data"]["num_workers"] = 0
        try:
            made.append(_first_batch(name, OmegaConf.merge(variant, small)))
        except (ConfigError, ImageError, ImportError) as error:
            missing[name] = str(error)
    if not made:
        named = "; ".join(f"{name}: {why}" for name, why in missing.items())
        same, *others = set(missing.values())
        raise ConfigError(f"no decoder can make these views: {named}" if others else same)
    *sections, last = _sections(cfg, made)
    note = _note([name for name in wanted if name not in missing])
    draw([*sections, last._replace(note=note)], out, smooth=True)
    return missing


def _first_batch(name: str, cfg: Any) -> _Made:
    data = build_pretrain(cfg)
    data.prepare_data()
    indexes, views, _ = next(iter(data.train_dataloader()))
    pipelines = [pipeline for pipeline in data.pipelines for _ in range(pipeline.num_crops)]
    shown = [unnormalised(*pair) for pair in zip(views, pipelines, strict=True)]
    on_gpu = getattr(data.decoder, "on_gpu", None)
    label = f"{name} {'gpu' if on_gpu(data) else 'cpu'}" if on_gpu else name
    return _Made(label, data, indexes.tolist(), shown)


def _sections(cfg: DictConfig, made: Sequence[_Made]) -> list[Section]:
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


def _stored(made: _Made) -> list[Tensor]:
    """(H, W, 3) within [0, 1], of any sizes."""
    data, images = made.data, []
    for index in made.indexes:
        _, image = data.reader(data.opened).pick(index, epoch=0)
        image.thumbnail((_STORED_EDGE, _STORED_EDGE))
        images.append(torch.from_numpy(np.array(image)) / 255)
    return images


def _note(names: Sequence[str]) -> str:
    """Whose views are alike, and whose cannot be."""
    text = "Training views of epoch 0."
    batched = [name for name in names if name != "pil"]
    if len(batched) > 1:
        text += f" {listing(batched, 'and')} share their random numbers"
        return f"{text}; pil draws others." if "pil" in names else f"{text}."
    if batched and "pil" in names:
        text += f" pil and {batched[0]} draw different random numbers."
    return text
