# SPDX-License-Identifier: MIT
"""timm: ``state_dict`` in a file that its ``load_checkpoint`` takes, facts under a key of ours."""

from pathlib import Path

import torch

from mixmask_solo.export import recipe
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Target
from mixmask_solo.records.checkpoints import FACTS


class Timm(Target):
    """torchvision's ResNets have the same names and the same arithmetic in timm."""

    suffix = ".timm.pth"

    def refuse(self, source: Source) -> None:
        recipe.in_timm(source)

    def write(self, source: Source, path: Path, place: Path) -> None:
        torch.save({"state_dict": source.weights, FACTS: source.facts}, path)

    def lines(self, source: Source, place: Path) -> list[str]:
        return [*recipe.in_timm(source), f"timm.models.load_checkpoint(model, {str(place)!r})"]
