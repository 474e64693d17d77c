# SPDX-License-Identifier: MIT
"""A training batch of a configuration in every way the network gets it mixed: what went in, which
mask, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.colors import ListedColormap
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.grid import Row, Section, draw, rgb, unnormalised
from mixmask_solo.report.style import COLORS, INK
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Step, Strategy, build_strategies

__all__ = ["Panel", "gallery", "panels", "picture"]

_STEPS = 64  # looked at for a mixture of each kind; a coin of 0.1 misses in one case of a thousand
_OWN, _PARTNER = COLORS[:2]
_CELLS = ListedColormap([_PARTNER, _OWN])


class Panel(NamedTuple):
    """One way the images were mixed.

    Attributes:
        mixture: of ``(N, C, H, W)`` views.
        mask: ``(N, H, W)`` bool, True = own pixel; None where there is none (Mixup).
        title: line above the panel.
    """

    mixture: Mixture
    mask: Tensor | None
    title: str | None = None


def own_pixels(mixture: Mixture) -> Tensor | None:
    """``(N, H, W)`` bool: own pixels in a mixture of :func:`origins`; None for Mixup, which has
    pixels of two origins."""
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
    """One panel for every way the strategies mix ``(N, C, H, W)``, as the first steps draw them."""
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
    out.parent.mkdir(parents=True, exist_ok=True)
    pipeline = data.pipelines[0]
    shown = [_unnormalised(panel, pipeline) for panel in drawn]
    return gallery(unnormalised(x, pipeline), shown, out, count=n)


def gallery(views: Tensor, panels: Sequence[Panel], path: Path, *, count: int = 8) -> Path:
    """Draws images, masks, partners and mixed images in rows, each λ below its column.

    Blue stands for the image itself (frame, and the cells of the mask it keeps), orange for its
    partner.

    Args:
        views: ``(N, C, H, W)`` within [0, 1], what was mixed; one or three channels are shown.
        panels: one below the other.
        path: picture to write; returned.
        count: columns at most.
    """
    draw([_section(views, panel, count) for panel in panels], path)
    return path


def _section(views: Tensor, panel: Panel, count: int) -> Section:
    mixture, mask, title = panel
    rows = [
        Row("image", rgb(views[:count]), _OWN),
        Row("partner", rgb(views[mixture.partner[:count]]), _PARTNER),
        Row("mixed", rgb(mixture.images[:count]), INK),
    ]
    if mask is not None:
        rows.insert(1, Row("mask", mask[:count], colors=_CELLS))
    lam = [f"λ = {share:.2f}" for share in mixture.lam[:count].tolist()]
    return Section(title, rows, views.shape[2] / views.shape[3], lam)


def _unnormalised(panel: Panel, pipeline: Any) -> Panel:
    images = unnormalised(panel.mixture.images, pipeline)
    return panel._replace(mixture=panel.mixture._replace(images=images))


def _title(name: str, blended: bool, kinds: int) -> str:
    """Un-Mix's words for its two kinds, where a strategy has both."""
    if kinds == 1:
        return name
    return f"{name}, {'global (Mixup)' if blended else 'regional (CutMix)'}"
