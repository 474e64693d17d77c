# SPDX-License-Identifier: MIT
"""Backbones by name, with the stem that solo-learn gives small images."""

from __future__ import annotations

from typing import Any

import timm
import torchvision
from omegaconf import DictConfig, OmegaConf
from torch import nn

__all__ = ["STEMS", "build_backbone", "features_dim"]

TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
STEMS = ("auto", "imagenet", "cifar", "cifar_pool")
_SMALL_IMAGES = ("cifar10", "cifar100", "digits")


def build_backbone(cfg: DictConfig) -> nn.Module:
    """The network ``cfg.backbone`` names, without its classification layer.

    torchvision's ResNets by their names there, as in solo-learn; everything else from timm.

    Args:
        cfg: ``backbone.name``, ``.kwargs``, ``.stem``, ``.stem_padding`` and ``data.dataset``.

    Returns:
        Module from ``(N, C, H, W)`` to ``(N, features)``.

    Raises:
        ValueError: for a name that neither library knows, or a stem that the network cannot take.
    """
    name, kwargs = cfg.backbone.name, _plain(cfg.backbone.kwargs)
    if name in TORCHVISION:
        backbone: nn.Module = getattr(torchvision.models, name)(**kwargs)
        backbone.fc = nn.Identity()
    elif timm.is_model(name):
        backbone = timm.create_model(name, **{"num_classes": 0, **kwargs})
    else:
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise ValueError(
            f"backbone.name is {name!r}: neither torchvision's ResNets nor timm have it"
            + (f"; near it timm has {near}" if near else "")
        )
    _set_stem(backbone, cfg)
    return backbone


def features_dim(backbone: nn.Module) -> int:
    """Length of the feature vector a backbone returns."""
    for name in ("inplanes", "head_hidden_size", "num_features"):  # torchvision, timm, older timm
        if isinstance(getattr(backbone, name, None), int):
            return int(getattr(backbone, name))
    raise ValueError(f"{type(backbone).__name__} does not tell the length of its features")


def _set_stem(backbone: nn.Module, cfg: DictConfig) -> None:
    """Replaces a ResNet's 7×7 stem in place where configuration or data set ask for it.

    solo-learn's has padding 2, which turns 32×32 into 34×34 maps; padding 1 is everybody else's.
    """
    stem = cfg.backbone.stem
    if stem not in STEMS:
        raise ValueError(f"backbone.stem is {stem!r}: choose one of {', '.join(STEMS)}")
    conv = getattr(backbone, "conv1", None)
    replaceable = isinstance(conv, nn.Conv2d) and hasattr(backbone, "maxpool")
    if stem == "auto":
        stem = "cifar" if replaceable and cfg.data.dataset in _SMALL_IMAGES else "imagenet"
    if stem == "imagenet":
        return
    if not isinstance(conv, nn.Conv2d) or not replaceable:
        raise ValueError(
            f"backbone.stem is {stem!r}: {cfg.backbone.name} has no plain ResNet stem to replace; "
            "choose auto or imagenet"
        )
    backbone.conv1 = nn.Conv2d(
        conv.in_channels, conv.out_channels, 3, padding=cfg.backbone.stem_padding, bias=False
    )
    if stem == "cifar":
        backbone.maxpool = nn.Identity()


def _plain(node: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(container or {})  # type: ignore[arg-type]
