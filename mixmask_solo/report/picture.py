# SPDX-License-Identifier: MIT
"""A training batch of a configuration, in every way the network gets it mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.gallery import Panel, gallery
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Step, Strategy, build_strategies

__all__ = ["origins", "own_pixels", "panels", "picture"]

_STEPS = 64  # looked at for a mixture of each kind; a coin of 0.1 misses in one case of a thousand


def own_pixels(mixture: Mixture) -> Tensor | None:
    """Where a mixture of :func:`origins` keeps each image's own pixels.

    Returns:
        ``(N, H, W)`` bool, or None where pixels have two origins (Mixup).
    """
    index = torch.arange(len(mixture.lam))[:, None, None]
    origin = mixture.images[:, 0]
    own, other = origin == index, origin == mixture.partner[:, None, None]
    return own if bool((own | other).all()) else None


def origins(n: int, height: int, width: int) -> Tensor:
    """``(n, 1, height, width)`` images whose pixels hold their image's index.

    The same draw applied to these tells every pixel's origin, whatever the strategy is.
    """
    index = torch.arange(n, dtype=torch.float32)[:, None, None, None]
    return index.expand(n, 1, height, width).contiguous()


def panels(strategies: Sequence[Strategy], x: Tensor, seed: int) -> list[Panel]:
    """One panel for every way the strategies mix a batch, as the first steps draw them.

    Args:
        strategies: of a configuration.
        x: ``(N, C, H, W)`` on the CPU.
        seed: the run's.
    """
    n, _, height, width = x.shape
    small, full = origins(2, height, width), origins(n, height, width)
    found: dict[tuple[str, bool], Panel] = {}
    for batch in range(_STEPS):
        step = Step(seed, 0, batch, 0, torch.device("cpu"))
        for strategy in strategies:
            for at, probe in enumerate(_mixtures(strategy, small, step)):
                key = (strategy.name, own_pixels(probe) is None)
                if key not in found:
                    mask = own_pixels(_mixtures(strategy, full, step)[at])
                    found[key] = Panel(_mixtures(strategy, x, step)[at], mask)
    names = [name for name, _ in found]
    return [
        panel._replace(title=_title(name, blended, names.count(name)) if len(found) > 1 else None)
        for (name, blended), panel in sorted(found.items(), key=lambda f: names.index(f[0][0]))
    ]


def _mixtures(strategy: Strategy, x: Tensor, step: Step) -> list[Mixture]:
    return [b.mixture for b in strategy.branches([x], step) if b.mixture is not None]


def picture(cfg: DictConfig, out: Path, *, n: int = 8) -> Path:
    """Draws originals, masks, partners and mixed images, a panel for every kind of mixture.

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
    data.batch_size = min(data.batch_size, len(data.opened))  # a picture needs no full batch
    _, views, _ = next(iter(data.train_dataloader()))
    x = views[0]  # all of it: partners are drawn from the whole batch
    drawn = panels(strategies, x, int(cfg.seed))
    if not drawn:
        raise ConfigError(f"none of the first {_STEPS} steps is mixed: raise mixmask.prob")
    view = data.pipelines[0]
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (view.mean, view.std))
    shown = [p._replace(mixture=_denormalised(p.mixture, mean, std)) for p in drawn]
    out.parent.mkdir(parents=True, exist_ok=True)
    return gallery((x * std + mean).clamp(0, 1), shown, out, count=n)


def _denormalised(mixture: Mixture, mean: Tensor, std: Tensor) -> Mixture:
    return mixture._replace(images=mixture.images * std + mean)


def _title(name: str, blended: bool, kinds: int) -> str:
    """Un-Mix's words for its two kinds, where a strategy has both."""
    if kinds == 1:
        return name
    return f"{name}, {'global (Mixup)' if blended else 'regional (CutMix)'}"
