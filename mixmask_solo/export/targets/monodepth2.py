# SPDX-License-Identifier: MIT
"""Monodepth2: ``encoder.pth`` as its trainer saves and loads it (``trainer.py``, ``load_model``).

The trainer keeps of a file what has the names of its own network and passes over the rest without
a word, so that a wrong name would train from scratch: all names are compared here.
"""

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from mixmask_solo.export import recipe
from mixmask_solo.export.source import Source
from mixmask_solo.export.target import Loaded, Target, library

HEIGHT, WIDTH = 192, 640  # defaults of its options; the trainer writes its own when it saves


class Monodepth2(Target):
    """The encoder is torchvision's ResNet under ``encoder.``, its ``fc`` included.

    Nothing ever uses that layer there, but loading wants it: it is filled with zeros.
    """

    suffix = ""
    beside = True

    def refuse(self, source: Source) -> None:
        recipe.plain_resnet(source, "monodepth2")

    def write(self, source: Source, path: Path, place: Path) -> None:
        weights = source.weights
        weights["fc.weight"] = torch.zeros(1000, source.facts["features"])
        weights["fc.bias"] = torch.zeros(1000)
        content: dict[str, Any] = {f"encoder.{k}": tensor for k, tensor in weights.items()}
        torch.save({**content, "height": HEIGHT, "width": WIDTH, "use_stereo": False}, path)

    def lines(self, source: Source, place: Path) -> list[str]:
        layers = source.name.removeprefix("resnet")
        return [
            "import torch, networks  # in a checkout of monodepth2",
            f"model = networks.ResnetEncoder({layers}, False)",
            recipe.weights_line(place),
            "known = model.state_dict()",
            "model.load_state_dict({k: v for k, v in weights.items() if k in known})",
        ]

    def load(self, source: Source, path: Path, images: Tensor) -> Loaded:
        content = torch.load(path, weights_only=True)
        encoder = getattr(torchvision.models, source.name)()
        wrapper = nn.ModuleDict({"encoder": encoder})  # names as its ResnetEncoder has them
        wrapper.load_state_dict({k: v for k, v in content.items() if isinstance(v, Tensor)})
        encoder.fc = nn.Identity()
        encoder.eval()
        unseen = "monodepth2 is no package: its own code was not run"
        return Loaded(library("torchvision"), {"feats": encoder(images)}, unseen)
