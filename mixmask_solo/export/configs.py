# SPDX-License-Identifier: MIT
"""Detectron2's configurations beside a pickle: the papers' settings with the pickle's facts."""

import json
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from mixmask_solo.config.datasets import IMAGENET_MEAN, IMAGENET_STD
from mixmask_solo.export.source import Source

CONFIGS = (
    "Base-RCNN-C4-BN.yaml",
    "pascal_voc_C4_24k.yaml",
    "coco_C4_1x.yaml",
    "coco_C4_2x.yaml",
)
_BASIC = ("resnet18", "resnet34")


def configs(source: Source) -> tuple[str, ...]:
    """Names of the files; none for ResNets of basic blocks, since a C4 head has bottlenecks."""
    return () if source.name in _BASIC else CONFIGS


def render(name: str, source: Source, place: Path) -> str:
    """The text of one of them, for a pickle that lies at ``place``."""
    template = files("mixmask_solo.export").joinpath("detectron2").joinpath(name).read_text("utf-8")
    facts = source.facts
    told = facts["mean"] is not None
    notes = (
        []
        if told
        else ["# The checkpoint tells no statistics of its images: these are ImageNet's."]
    )
    if facts["input_filter"]:
        notes.append(f"# Its images passed {facts['input_filter']}, which nothing here applies.")
    return Template(template).substitute(
        weights=json.dumps(str(place.absolute())),
        mean=_pixels(facts["mean"] or IMAGENET_MEAN),
        std=_pixels(facts["std"] or IMAGENET_STD),
        depth=source.name.removeprefix("resnet"),
        note="\n".join(notes) or "#",
    )


def _pixels(values: Any) -> list[float]:
    return [round(255 * value, 4) for value in values]
