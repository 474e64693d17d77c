# SPDX-License-Identifier: MIT
"""What a recipe comes to: its method, its heads, its views."""

from __future__ import annotations

from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from mixmask_solo.config.datasets import info
from mixmask_solo.methods import get_methods
from mixmask_solo.methods.heads import JointHead
from support.published import View

__all__ = ["built", "drawn", "views"]


def built(cfg: DictConfig) -> Any:
    """The method, without memory for its weights."""
    with torch.device("meta"):
        return get_methods("builtin")[cfg.method](cfg)


def drawn(module: nn.Module) -> str:
    """A head's layers in their order; a minus for a missing bias."""
    names = ["joint"] if isinstance(module, JointHead) else []
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            minus = "-" if layer.bias is None else ""
            names.append(f"Linear({layer.in_features},{layer.out_features}){minus}")
        elif isinstance(layer, nn.BatchNorm1d):
            frozen = "(no bias)" if layer.affine and not layer.bias.requires_grad else ""
            names.append("BN" + (frozen if layer.affine else "(no affine)"))
        elif isinstance(layer, nn.ReLU):
            names.append("ReLU")
    return " ".join(names)


def views(cfg: DictConfig) -> tuple[View, ...]:
    facts, found = info(cfg.data.dataset), []
    for view in cfg.augmentations:
        jitter = view.color_jitter
        assert (jitter.prob, view.horizontal_flip.prob) == (0.8, 0.5)
        assert (view.rrc.crop_max_scale, view.equalization.prob) == (1.0, 0.0)
        strengths = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
        made = View(
            *(view.rrc.crop_min_scale, view.rrc.get("interpolation", "bicubic"), strengths),
            *(view.grayscale.prob, view.gaussian_blur.prob, view.crop_size),
            mean=tuple(view.get("mean", facts.mean)),
            std=tuple(view.get("std", facts.std)),
            solarise=view.solarization.prob,
            order=view.get("order", "crop_first"),
        )
        found += [made] * view.num_crops
    return tuple(found)
