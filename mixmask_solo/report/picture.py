# SPDX-License-Identifier: MIT
"""The first training batch of a configuration, as the network gets it mixed."""

from __future__ import annotations

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.report.gallery import gallery
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Step, Strategy, build_strategies

__all__ = ["own_pixels", "picture"]


def own_pixels(strategy: Strategy, shape: torch.Size, step: Step) -> Tensor:
    """Where a strategy's mixture keeps each image's own pixels.

    The same draw is applied to images whose pixels hold their own index, which tells every
    pixel's origin whatever the strategy is.

    Args:
        strategy: one with exactly one branch in this step.
        shape: ``(N, C, H, W)`` of the images.
        step: names the draw.

    Returns:
        ``(N, H, W)`` bool.
    """
    n, _, height, width = shape
    index = torch.arange(n, dtype=torch.float32)[:, None, None, None]
    [branch] = strategy.branches([index.expand(n, 1, height, width).contiguous()], step)
    return (branch.mixture.images == index)[:, 0]


def picture(cfg: DictConfig, out: Path, *, n: int = 8) -> Path:
    """Draws originals, masks, partners and mixed images.

    Args:
        cfg: a composed pretraining configuration with a strategy's block.
        out: PNG to write; its folder is made.
        n: images to show.

    Raises:
        ConfigError: when the configuration has no strategy that mixes.
    """
    cfg = resolve(cfg)
    strategies = build_strategies(cfg)
    if not strategies:
        raise ConfigError(
            "method_kwargs has no block of a strategy, so nothing is mixed: "
            "add e.g. +method_kwargs.mixmask.grid_size=4"
        )
    data = build_pretrain(cfg)
    data.setup("fit")
    _, views, _ = next(iter(data.train_dataloader()))
    x = views[0][:n]
    step = Step(int(cfg.seed), 0, 0, 0, torch.device("cpu"))
    [branch] = strategies[0].branches([x], step)
    mask = own_pixels(strategies[0], x.shape, step)
    view = data.pipelines[0]
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (view.mean, view.std))
    mixed = branch.mixture._replace(images=branch.mixture.images * std + mean)
    out.parent.mkdir(parents=True, exist_ok=True)
    gallery((x * std + mean).clamp(0, 1), mixed, mask, out)
    return out
