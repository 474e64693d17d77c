# SPDX-License-Identifier: MIT
"""torchvision: a ``state_dict`` and nothing else, as its own weights are; facts lie beside it."""

from pathlib import Path

import torch

from mixmask_solo.export import recipe
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Target


class Torchvision(Target):
    """The weights without ``fc``, which no pretraining has."""

    suffix = ".torchvision.pth"
    beside = True

    def refuse(self, source: Source) -> None:
        recipe.in_torchvision(source)

    def write(self, source: Source, path: Path, place: Path) -> None:
        torch.save(source.weights, path)

    def lines(self, source: Source, place: Path) -> list[str]:
        load = [recipe.weights_line(place), "model.load_state_dict(weights)"]
        return [*recipe.in_torchvision(source), *load]
