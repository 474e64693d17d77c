# SPDX-License-Identifier: MIT
"""Lines of Python that build a network in the library that has it, as a user would write them.

What a command prints are the lines it has run itself: a description could be wrong, these cannot.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from mixmask_solo.config import ConfigError
from mixmask_solo.export.source import Source

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
BACKBONE_ONLY = [  # of weights whose names tell backbone and projector apart
    "of_backbone = {k[9:]: v for k, v in weights.items() if k.startswith('backbone.')}",
    "model.load_state_dict(of_backbone)",
]
_HARMLESS = ("zero_init_residual", "progress")  # arguments that trained weights do not depend on


def in_torchvision(source: Source) -> list[str]:
    """``model`` without weights, its features in the place of class scores.

    Raises:
        ConfigError: for a network that torchvision has not, or has by that name only.
    """
    if source.name not in RESNETS:
        raise ConfigError(
            f"the network is timm's {source.name}: torchvision takes its own ResNets, "
            f"{RESNETS[0]} to {RESNETS[-1]}; choose timm, safetensors or onnx"
        )
    return [
        "import torch, torchvision",
        f"model = torchvision.models.{source.name}({_arguments(source.kwargs)})",
        *_stem(source),
        "model.fc = torch.nn.Identity()  # features; a classifier of yours goes here",
    ]


def in_timm(source: Source) -> list[str]:
    """The same with timm.

    Raises:
        ConfigError: for a network with arguments that timm's of that name does not take.
    """
    kwargs = source.kwargs
    if source.name in RESNETS:
        kwargs = {k: v for k, v in kwargs.items() if k not in _HARMLESS}
        if kwargs:
            raise ConfigError(
                f"the network is torchvision's {source.name} with {kwargs}: timm's takes other "
                "arguments; choose torchvision, safetensors or onnx"
            )
    more = f", {_arguments(kwargs)}" if kwargs else ""
    return [
        "import timm, torch",
        f"model = timm.create_model({source.name!r}, num_classes=0{more})  # features",
        *_stem(source),
    ]


def at_home(source: Source) -> list[str]:
    """In the library that the network is of."""
    return in_torchvision(source) if source.name in RESNETS else in_timm(source)


def plain_resnet(source: Source, target: str) -> None:
    """Raises ConfigError unless the network is a ResNet exactly as torchvision builds it."""
    if source.name not in RESNETS:
        raise ConfigError(
            f"the network is timm's {source.name}: {target} takes torchvision's ResNets, "
            f"{RESNETS[0]} to {RESNETS[-1]}; choose timm, safetensors or onnx"
        )
    if source.block["stem"] != "imagenet":
        raise ConfigError(
            f"the network has the stem {source.block['stem']}: {target}'s ResNets have that of "
            "ImageNet, 7x7 and pooling; choose torchvision, timm, safetensors or onnx"
        )
    if kwargs := {k: v for k, v in source.kwargs.items() if k not in _HARMLESS}:
        raise ConfigError(
            f"the network is a {source.name} with {kwargs}: {target} builds the plain one; choose "
            "torchvision, safetensors or onnx"
        )


def weights_line(file: Path, inside: str = "") -> str:
    """Reads a file of ``torch.save``, or what it has under the key ``inside``."""
    key = f"[{inside!r}]" if inside else ""
    return f"weights = torch.load({str(file)!r}, weights_only=True){key}"


def run(lines: Sequence[str]) -> nn.Module:
    """``model``, as the lines leave it, in evaluation mode."""
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    model: nn.Module = names["model"]
    return model.eval()


def _stem(source: Source) -> list[str]:
    """Lines for a 3x3 stem, which neither library has for these networks."""
    if source.block["stem"] == "imagenet":
        return []
    conv: Any = source.backbone.conv1
    channels = f"{conv.in_channels}, {conv.out_channels}"
    lines = [f"model.conv1 = torch.nn.Conv2d({channels}, 3, padding={conv.padding[0]}, bias=False)"]
    if isinstance(source.backbone.maxpool, nn.Identity):
        lines.append("model.maxpool = torch.nn.Identity()")
    return lines


def _arguments(kwargs: dict[str, Any]) -> str:
    """Plain values as they came out of a configuration, whose names might be anything."""
    if wrong := [name for name in kwargs if not name.isidentifier()]:
        raise ConfigError(f"the network has an argument {wrong[0]!r}: that is no name in Python")
    return ", ".join(f"{name}={value!r}" for name, value in kwargs.items())
