# SPDX-License-Identifier: MIT
"""Backbones by name, with the stem that solo-learn gives small images."""

import re
from difflib import get_close_matches
from typing import Any

import timm
import torchvision
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mixmask_solo.host.builtin.defaults import one_of

_TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_STEMS = ("auto", "imagenet", "cifar", "cifar_pool")
_SMALL_IMAGES = ("cifar10", "cifar100", "digits")


def build_backbone(cfg: DictConfig) -> nn.Module:
    """The network ``cfg.backbone`` names, from ``(N, C, H, W)`` to features ``(N, F)``.

    torchvision's ResNets by their names there, as in solo-learn; everything else from timm.

    Raises:
        ValueError: for a name that neither library knows, arguments that its network does not
            take, or a stem that it cannot take.
    """
    name, kwargs = cfg.backbone.name, _as_dict(cfg.backbone.kwargs)
    if name not in _TORCHVISION and not timm.is_model(name):
        known = {*_TORCHVISION, *timm.list_models()}
        near = ", ".join(get_close_matches(name, sorted(known), 5))
        raise ValueError(
            f"backbone.name is {name!r}: neither torchvision's ResNets nor timm have it"
            + (f"; near it are {near}" if near else "")
        )
    try:
        if name in _TORCHVISION:
            backbone = getattr(torchvision.models, name)(**kwargs)
            backbone.fc = nn.Identity()
        else:
            backbone = timm.create_model(name, num_classes=0, **kwargs)
    except OSError:  # weights that cannot be fetched
        raise
    except Exception as error:  # networks answer a wrong value in many types
        raise wrong_kwargs(cfg, error) or error from None
    set_stem(backbone, cfg)
    return backbone


def wrong_kwargs(cfg: DictConfig, error: Exception) -> ValueError | None:
    """What to raise for a constructor's ``error``; None where there are no kwargs to blame."""
    name, kwargs = cfg.backbone.name, _as_dict(cfg.backbone.get("kwargs"))
    if not kwargs:
        return None
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if unknown and unknown[1] in kwargs:
        key = unknown[1]
        return ValueError(
            f"backbone.kwargs.{key} is {kwargs[key]!r}: {name} takes no argument of that name; "
            "remove it"
        )
    return ValueError(
        f"backbone.kwargs is {kwargs}: {name} cannot be built with that "
        f"({type(error).__name__}: {error}); correct or remove it"
    )


def features_dim(backbone: nn.Module) -> int:
    """Length of the feature vector a backbone returns."""
    for name in ("inplanes", "head_hidden_size", "num_features"):  # torchvision, timm, older timm
        if isinstance(getattr(backbone, name, None), int):
            return int(getattr(backbone, name))
    raise ValueError(f"{type(backbone).__name__} does not tell the length of its features")


def set_stem(backbone: nn.Module, cfg: DictConfig) -> bool:
    """Replaces a ResNet's stem in place where configuration or data set ask for another one.

    solo-learn's 3×3 stem has padding 2, which turns 32×32 into 34×34 maps; padding 1 is everybody
    else's. A stem that is as it should be is left alone and draws no random numbers.

    Returns:
        Whether something was replaced.

    Raises:
        ValueError: for an unknown stem, or one that the network cannot take.
    """
    conv: Any = getattr(backbone, "conv1", None)
    replaceable = isinstance(conv, nn.Conv2d) and hasattr(backbone, "maxpool")
    stem = _wanted_stem(cfg, replaceable)
    small = replaceable and conv.kernel_size == (3, 3) and conv.stride == (1, 1)
    if stem == "imagenet" and not small:
        return False
    kernel, padding = (7, 3) if stem == "imagenet" else (3, int(cfg.backbone.stem_padding))
    pooled, replaced = stem != "cifar", False
    if conv.kernel_size != (kernel, kernel) or conv.padding != (padding, padding):
        backbone.conv1 = _stem_conv(conv, kernel, padding)
        replaced = True
    if pooled == isinstance(backbone.maxpool, nn.Identity):
        backbone.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if pooled else nn.Identity()
        replaced = True
    return replaced


def actual_stem(backbone: nn.Module) -> str:
    """What ``backbone.stem: auto`` has become: ``imagenet``, ``cifar`` or ``cifar_pool``."""
    conv, pool = getattr(backbone, "conv1", None), getattr(backbone, "maxpool", None)
    if not isinstance(conv, nn.Conv2d) or conv.kernel_size != (3, 3) or pool is None:
        return "imagenet"
    return "cifar" if isinstance(pool, nn.Identity) else "cifar_pool"


def _wanted_stem(cfg: DictConfig, replaceable: bool) -> str:
    stem = str(cfg.backbone.stem)
    one_of("backbone.stem", stem, _STEMS)
    if stem == "auto":
        return "cifar" if replaceable and cfg.data.dataset in _SMALL_IMAGES else "imagenet"
    if stem != "imagenet" and not replaceable:
        raise ValueError(
            f"backbone.stem is {stem!r}: {cfg.backbone.name} has no plain ResNet stem to replace; "
            "choose auto or imagenet"
        )
    return stem


def _stem_conv(old: nn.Conv2d, kernel: int, padding: int) -> nn.Conv2d:
    """torchvision's 7×7 with its initialisation, or solo-learn's 3×3 with PyTorch's default."""
    channels, stride = (old.in_channels, old.out_channels), 2 if kernel == 7 else 1
    conv = nn.Conv2d(*channels, kernel, stride=stride, padding=padding, bias=False)
    if kernel == 7:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _as_dict(node: Any) -> dict[str, Any]:
    container = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    return dict(container or {})  # type: ignore[arg-type]
