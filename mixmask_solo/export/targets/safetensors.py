# SPDX-License-Identifier: MIT
"""safetensors: weights by the network's own names, facts as JSON in the file's header."""

import json
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor

from mixmask_solo.export import recipe
from mixmask_solo.export.head import head_outputs
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Loaded, Target, library


class Safetensors(Target):
    """With a head, names begin with ``backbone.`` and ``projector.``."""

    suffix = ".safetensors"
    ends = (".safetensors",)
    head = True

    def refuse(self, source: Source) -> None:
        recipe.at_home(source)

    def write(self, source: Source, path: Path, place: Path) -> None:
        told = {"format": "pt", "mixmask": json.dumps(source.facts)}
        weights = source.weights if source.projector is None else source.with_head
        path.write_bytes(save(weights, told))  # save_file makes it readable for its owner alone

    def lines(self, source: Source, place: Path) -> list[str]:
        read = ["from safetensors.torch import load_file", f"weights = load_file({str(place)!r})"]
        load = ["model.load_state_dict(weights)"]
        if source.projector is not None:
            load = recipe.BACKBONE_ONLY
        return [*recipe.at_home(source), *read, *load]

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        found = super().load(source, path, images)
        outputs = head_outputs(source, load_file(path), found.outputs)
        return Loaded(f"{library('safetensors')} and {found.by}", outputs)
