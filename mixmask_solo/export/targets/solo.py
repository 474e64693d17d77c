# SPDX-License-Identifier: MIT
"""solo-learn: a checkpoint whose weights its ``main_linear.py`` finds under ``backbone.``.

Its own loading drops what it does not know and misses nothing (``strict=False``), so names have to
be right; and this package's probes read the file as the run's own, filter and all.
"""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from mixmask_solo.export import recipe
from mixmask_solo.export.head import head_outputs
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Loaded, Target
from mixmask_solo.records.checkpoints import (
    FACTS,
    FILTERS,
    META,
    AtomicCheckpointIO,
    read_checkpoint,
)


class Solo(Target):
    """No ``.ckpt`` by default: beside a run's own it would be taken for one of them."""

    suffix = ".solo.pth"
    ends = (".ckpt", ".pth", ".pt")  # what main_linear.py accepts
    head = True

    def refuse(self, source: Source) -> None:
        recipe.at_home(source)

    def write(self, source: Source, path: Path, place: Path) -> None:
        pretrained = source.pretrained
        config = {**pretrained.config, "backbone": source.block}
        ours: dict[str, Any] = {"config": json.dumps(config, default=str), "sealed": True}
        if pretrained.filters is not None:
            ours[FILTERS] = pretrained.filters
        content = {"state_dict": source.with_head, META: ours, FACTS: source.facts}
        AtomicCheckpointIO().save_checkpoint(content, path)

    def lines(self, source: Source, place: Path) -> list[str]:
        read = recipe.weights_line(place, "state_dict")
        return [*recipe.at_home(source), read, *recipe.BACKBONE_ONLY]

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        found = super().load(source, path, images)
        weights = read_checkpoint(path)["state_dict"]
        outputs = head_outputs(source, weights, found.outputs)
        return Loaded(found.by, outputs, "solo-learn's own main_linear.py was not run")
