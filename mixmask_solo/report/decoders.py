# SPDX-License-Identifier: MIT
"""The same images augmented by every decoder, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mixmask_solo.bench.data_bench import alone
from mixmask_solo.bench.decoder_rate import variants
from mixmask_solo.config import ConfigError
from mixmask_solo.config.nearest import did_you_mean, listing
from mixmask_solo.data import ImageData, ImageError, build_pretrain
from mixmask_solo.data.block import data_block
from mixmask_solo.data.sources import read
from mixmask_solo.data.sources.storage import DECODERS
from mixmask_solo.report.grid import Grid, draw_row, rgb, write_title
from mixmask_solo.report.style import DPI, FAINT, RC

__all__ = ["NAMES", "Comparison", "compare"]

NAMES = ("pil", *DECODERS)
_VIEWS = 2  # shown of each pipeline
_STORED_EDGE = 512  # pixels, more than the picture has for an image


class Comparison(NamedTuple):
    """A picture of decoders.

    Args:
        path: the picture.
        missing: from the decoders that are not in it to why.
    """

    path: Path
    missing: dict[str, str]


class _Made(NamedTuple):
    """First batch of a decoder: (n,) indexes, (n, 3, H, W) views within [0, 1]."""

    label: str
    data: ImageData
    indexes: list[int]
    views: list[Tensor]


class _Section(NamedTuple):
    """Rows under one title, each a label and (H, W, 3) images."""

    title: str
    rows: list[tuple[str, list[Tensor]]]
    aspect: float = 1.0


def compare(cfg: DictConfig, out: Path, names: Sequence[str], *, n: int = 8) -> Comparison:
    """Draws stored images and, below them, their training views of epoch 0 by each decoder.

    Args:
        cfg: a composed, unresolved pretraining configuration; its storage is what all read.
        out: PNG to write; its folder is made.
        names: some of ``NAMES``, or ``all``; those that cannot run here are left out.
        n: images to show; fewer where a batch or the data set has fewer.

    Raises:
        ConfigError: for unknown names, for anything wrong with the configuration or the images,
            or when none of the decoders can run.
    """
    wanted = _known(names)
    if n < 1:
        raise ConfigError(f"-n is {n}: give at least 1 image")
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
        raise ConfigError(_why_none(missing))
    out.parent.mkdir(parents=True, exist_ok=True)
    _draw(_sections(cfg, made), _caption([name for name in wanted if name not in missing]), out)
    return Comparison(out, missing)


def _why_none(missing: dict[str, str]) -> str:
    whys = set(missing.values())
    if len(whys) == 1:
        return whys.pop()
    named = "; ".join(f"{name}: {why}" for name, why in missing.items())
    return f"no decoder can make these views: {named}"


def _known(names: Sequence[str]) -> list[str]:
    if not names:
        raise ConfigError(f"--decoder is empty: choose {listing((*NAMES, 'all'))}")
    for name in names:
        if name not in (*NAMES, "all"):
            known = (*NAMES, "all")
            near = did_you_mean(name, known)
            raise ConfigError(f"--decoder is {name!r}: choose {listing(known)}{near}")
    return [name for name in NAMES if name in names or "all" in names]


def _first_batch(name: str, cfg: Any) -> _Made:
    data = build_pretrain(cfg)
    data.prepare_data()
    indexes, views, _ = next(iter(data.train_dataloader()))
    shown = []
    for view, pipeline in zip(views, _pipelines(data), strict=True):
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (pipeline.mean, pipeline.std))
        shown.append(view.float().cpu() * std + mean)
    on_gpu = getattr(data.decoder, "on_gpu", None)
    label = f"{name} {'gpu' if on_gpu(data) else 'cpu'}" if on_gpu else name
    return _Made(label, data, indexes.tolist(), shown)


def _pipelines(data: ImageData) -> list[Any]:
    """The pipeline of each view."""
    return [pipeline for pipeline in data.pipelines for _ in range(pipeline.num_crops)]


def _sections(cfg: DictConfig, made: Sequence[_Made]) -> list[_Section]:
    """The stored images, then each view."""
    first = made[0]
    stored = _stored(first)
    aspect = min(1.0, max(image.shape[0] / image.shape[1] for image in stored))
    sections = [_Section(f"Stored images ({cfg.data.dataset})", [("stored", stored)], aspect)]
    number = 0
    for pipeline in first.data.pipelines:
        for view in range(number, number + min(pipeline.num_crops, _VIEWS)):
            title = f"View {view + 1}: {pipeline.key}, pipeline {pipeline.name}"
            rows = [(one.label, list(rgb(one.views[view]))) for one in made]
            sections.append(_Section(f"{title}, {pipeline.crop_size}×{pipeline.crop_size}", rows))
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


def _caption(names: Sequence[str]) -> str:
    """Whose views are alike, and whose cannot be."""
    text = "Training views of epoch 0."
    batched = [name for name in names if name != "pil"]
    if len(batched) > 1:
        text += f" {listing(batched, 'and')} share their random numbers"
        return f"{text}; pil draws others." if "pil" in names else f"{text}."
    if batched and "pil" in names:
        text += f" pil and {batched[0]} draw different random numbers."
    return text


def _draw(sections: Sequence[_Section], caption: str, path: Path) -> None:
    columns = len(sections[0].rows[0][1])
    grids = [
        Grid(len(s.rows), columns, s.aspect, titled=True, captioned=s is sections[-1])
        for s in sections
    ]
    heights = [grid.size[1] for grid in grids]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(grids[0].size[0], sum(heights)), dpi=DPI)
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, section in zip(parts, grids, sections, strict=True):
            write_title(part, grid, section.title)
            for row, (label, images) in enumerate(section.rows):
                draw_row(part, grid, row, label, images, smooth=True)
        left = grids[-1].box(0, 0)[0]
        parts[-1].text(left, 0.24 / heights[-1], caption, fontsize=14, color=FAINT, va="center")
        figure.savefig(path)
