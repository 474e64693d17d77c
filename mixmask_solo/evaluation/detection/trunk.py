# SPDX-License-Identifier: MIT
"""A ResNet taken apart: what runs once over an image, and what is left for the heads."""

import math
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from mixmask_solo.config import ConfigError

_LAYERS = ("layer1", "layer2", "layer3", "layer4")


class Trunk(nn.Module):
    """Stem and the first ``depth`` layers of a ResNet of torchvision's or timm's, by their names.

    From ``(N, 3, H, W)`` to the ``(N, C, h, w)`` of each layer from ``first`` on, by the layer's
    name.

    Raises:
        ConfigError: for a network that does not consist of a stem and four layers.
    """

    def __init__(self, backbone: Any, *, first: int, depth: int) -> None:
        super().__init__()
        missing = [n for n in ("conv1", "bn1", "maxpool", *_LAYERS) if not hasattr(backbone, n)]
        if missing:
            raise ConfigError(
                f"backbone.name: {type(backbone).__name__} has no {missing[0]}; a detector takes "
                "ResNets apart, as resnet18, resnet50 or timm's"
            )
        self.conv1: nn.Module = backbone.conv1
        self.bn1: nn.Module = backbone.bn1
        self.act1: nn.Module = backbone.relu if hasattr(backbone, "relu") else backbone.act1
        self.maxpool: nn.Module = backbone.maxpool
        self.first, self.depth = first, depth
        for name in _LAYERS[:depth]:
            setattr(self, name, getattr(backbone, name))

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        x = self.maxpool(self.act1(self.bn1(self.conv1(x))))
        found: OrderedDict[str, Tensor] = OrderedDict()
        for number, name in enumerate(_LAYERS[: self.depth], start=1):
            x = getattr(self, name)(x)
            if number >= self.first:
                found[name] = x
        return found


def channels(layer: Any) -> int:
    """Of what a ResNet's layer gives."""
    block = list(layer.children())[-1]
    norm = block.bn3 if hasattr(block, "bn3") else block.bn2
    return int(norm.num_features)


def stride(padded: int, cells: int) -> int:
    """Pixels a cell, a power of two: a stem that pads too much gives some cells more."""
    return int(2 ** round(math.log2(padded / cells)))
