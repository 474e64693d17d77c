# SPDX-License-Identifier: MIT
"""What a run's network saw, drawn anew from its resolved configuration; loads torch."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from PIL import Image, features
from torch import Tensor

from mixmask_solo.records.registry.record import RunRecord
from mixmask_solo.report.grid import Row, Section
from mixmask_solo.report.page.render import Samples
from mixmask_solo.report.palette import COLORS, INK
from mixmask_solo.report.picture import shown_of
from mixmask_solo.runs.pretrain import resolve

_LARGEST = 128  # pixels of an image's longer side: a page of ten runs stays small
_FEW = 64  # pixels that are shown as squares, and stored as they are
_LONGEST = 240  # characters of what went wrong
# Keys that resolving derives, and those that mean a device or a cache of the run's machine.
_DERIVED = ("num_large_crops", "num_small_crops", "num_extra_crops")
_HERE = {"devices": 1, "num_nodes": 1, "accelerator": "cpu", "resume_from_checkpoint": None}


def samples(record: RunRecord, n: int = 8) -> Samples:
    """Images, masks and fills of a pretraining run's first batches; a line where they cannot be
    drawn, whatever the reason: a page does without."""
    try:
        cfg = resolve(_configuration(record), here=False)
        parts = [_part(section) for section in shown_of(cfg, n=n, plain=True)]
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        said = said if len(said) <= _LONGEST else f"{said[:_LONGEST]} …"
        return Samples("", note=f"Not drawn, the images or what masks them are not at hand: {said}")
    learned = "; masks of a network that learns are those before training" * _learns(record)
    return Samples("", parts, f"Drawn anew from the run's configuration{learned}.")


def _configuration(record: RunRecord) -> DictConfig:
    """As it would have been written, for this machine's CPU; nothing is copied or downloaded."""
    config = {**record.config, **_HERE}
    data = {k: v for k, v in config["data"].items() if k not in (*_DERIVED, "stage_to")}
    config["data"] = {**data, "num_workers": 0, "download": False}
    return OmegaConf.create(config)


def _learns(record: RunRecord) -> bool:
    return "adios" in (record.config.get("method_kwargs") or {})


def _part(section: Section) -> dict[str, Any]:
    rows = [
        {
            "label": row.label,
            "color": _color(row.frame),
            "framed": row.frame not in (None, INK),
            "smooth": max(row.images[0].shape[:2]) > _FEW and row.colors is None,
            "images": [_address(row, image) for image in row.images],
        }
        for row in section.rows
    ]
    return {"title": section.title, "rows": rows, "captions": list(section.captions)}


def _color(frame: str | None) -> str:
    """The page's own, which is lighter on a dark ground."""
    if frame in COLORS:
        return f"var(--c{COLORS.index(frame)})"
    return "var(--ink)" if frame in (None, INK) else str(frame)


def _address(row: Row, image: Tensor) -> str:
    """``data:`` address of an image ``(H, W, 3)`` within [0, 1], or ``(H, W)`` with its colours."""
    values = image.numpy()
    if row.colors is not None:
        values = row.colors(values.astype(float))[..., :3]
    picture = Image.fromarray(np.uint8(np.clip(values, 0, 1) * 255 + 0.5))
    picture.thumbnail((_LARGEST, _LARGEST), Image.Resampling.BOX)
    small = max(picture.size) <= _FEW or row.colors is not None  # few pixels, or flat colours
    kind = "WEBP" if features.check("webp") else "PNG"
    options: dict[str, Any] = {"lossless": small, "quality": 85} if kind == "WEBP" else {}
    file = BytesIO()
    picture.save(file, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
