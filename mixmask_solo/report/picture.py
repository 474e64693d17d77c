# SPDX-License-Identifier: MIT
"""A training batch of a configuration in every way the network gets it mixed: what went in, which
mask, what came out."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.colors import ListedColormap
from omegaconf import DictConfig
from torch import Tensor

from mixmask_solo.config import ConfigError, listing
from mixmask_solo.data import build_pretrain
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.grid import Row, Section, draw, rgb, unnormalised
from mixmask_solo.report.inputs import inputs
from mixmask_solo.report.palette import COLORS, INK
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Step, Strategy, build_strategies, input_filter

_STEPS = 64  # looked at for a mixture of each kind; a coin of 0.1 misses in one case of a thousand
_OWN, _PARTNER = COLORS[:2]
_CELLS = ListedColormap([_PARTNER, _OWN])


class Panel(NamedTuple):
    """One way the images were mixed."""

    mixture: Mixture
    mask: Tensor | None  # (N, H, W) bool, True = own pixel; None for Mixup
    title: str


def _own_pixels(mixture: Mixture) -> Tensor | None:
    """The mask, from a mixture of ``_origins``; Mixup has none, but pixels of two origins."""
    index = torch.arange(len(mixture.lam))[:, None, None]
    origin = mixture.images[:, 0]
    own, other = origin == index, origin == mixture.partner[:, None, None]
    return own if bool((own | other).all()) else None


def _origins(n: int, *shape: int) -> Tensor:
    """Images ``(n, *shape)`` of their own index: mixed by the same draw, they tell every pixel's
    origin, whatever the strategy is."""
    index = torch.arange(n, dtype=torch.float32)[:, None, None, None]
    return index.expand(n, *shape).contiguous()


def panels(strategies: Sequence[Strategy], x: Tensor, seed: int, views: int = 2) -> list[Panel]:
    """One panel for every way the strategies mix ``(N, C, H, W)``, as the first steps draw them.

    They get it for each of as many ``views``, so that ``x`` shows what any of them was made from.
    """
    small, full = _origins(2, *x.shape[1:]), _origins(*x.shape)
    found: dict[tuple[str, bool], Panel] = {}
    for batch in range(_STEPS):
        step = Step(seed, 0, batch, 0, torch.device("cpu"))
        for strategy in strategies:
            for at, probe in enumerate(_mixtures(strategy, [small] * views, step)):
                key = (strategy.name, _own_pixels(probe) is None)
                if key not in found:
                    mask = _own_pixels(_mixtures(strategy, [full] * views, step)[at])
                    mixture = _mixtures(strategy, [x] * views, step)[at]
                    found[key] = Panel(mixture, mask, strategy.name)
    names = [name for name, _ in found]
    return [
        panel._replace(title=_title(name, blended, names.count(name)))
        for (name, blended), panel in sorted(found.items(), key=lambda f: names.index(f[0][0]))
    ]


def _mixtures(strategy: Strategy, views: Sequence[Tensor], step: Step) -> list[Mixture]:
    return [b.mixture for b in strategy.branches(views, step) if b.mixture is not None]


def picture(cfg: DictConfig, out: Path, *, n: int = 8) -> None:
    """Draws what each strategy feeds the networks: first every kind of mixture, then the others.

    ``cfg`` is a composed pretraining configuration; raises ConfigError when nothing in it changes
    an image.
    """
    cfg = resolve(cfg)
    names = [strategy.name for strategy in build_strategies(cfg)]
    shown = shown_of(cfg, n=n)
    if not shown:
        told = listing([f"method_kwargs.{name}" for name in names] or ["any strategy"], "and")
        remedy = "add e.g. +method_kwargs.mixmask.grid_size=4"
        if "mixmask" in names:
            remedy = "raise method_kwargs.mixmask.prob"
        raise ConfigError(f"no image is changed in the first {_STEPS} steps by {told}: {remedy}")
    draw(shown, out)


def shown_of(cfg: DictConfig, *, n: int = 8, plain: bool = False) -> list[Section]:
    """What :func:`picture` draws, of a resolved configuration; nothing where no image is changed.

    With ``plain`` it is the augmented views as they are then.
    """
    strategies = build_strategies(cfg)
    data = build_pretrain(cfg)
    data.batch_size = min(data.batch_size, len(data.opened))  # a picture needs no full batch
    _, views, _ = next(iter(data.train_dataloader()))
    large = views[: int(cfg.data.num_large_crops)]
    filtered = input_filter((type(s), s.options) for s in strategies)
    pipeline, seed = data.pipelines[0], int(cfg.seed)
    # all of the batch: partners are drawn from the whole of it
    x = filtered(large[0]) if filtered else large[0]
    shown = [
        mixed(unnormalised(x, pipeline), _unnormalised(panel, pipeline), n)
        for panel in panels(strategies, x, seed, len(large))
    ]
    step = Step(seed, 0, 0, 0, torch.device("cpu"))
    taken = {s.name: type(s).extra_crops(s.options) for s in strategies}
    crops = iter(views[len(views) - sum(taken.values()) :])
    for strategy in strategies:
        own = list(islice(crops, taken[strategy.name]))
        made = inputs(strategy, large, own, filtered, step, pipeline=pipeline, count=n)
        shown += [made] if made is not None else []
    if plain and not shown:
        rows = [
            Row(f"view {v + 1}", rgb(unnormalised(view[:n], pipeline)), _OWN)
            for v, view in enumerate(large)
        ]
        shown = [Section("augmented views", rows, large[0].shape[2] / large[0].shape[3])]
    return shown


def _unnormalised(panel: Panel, pipeline: Any) -> Panel:
    images = unnormalised(panel.mixture.images, pipeline)
    return panel._replace(mixture=panel.mixture._replace(images=images))


def mixed(views: Tensor, panel: Panel, count: int) -> Section:
    """Images, masks, partners and mixed images in rows, each λ below its column.

    Blue stands for the image itself (frame, and the cells of the mask it keeps), orange for its
    partner. ``views`` are ``(N, C, H, W)`` within [0, 1], of which at most ``count`` are shown.
    """
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


def _title(name: str, blended: bool, kinds: int) -> str:
    """Un-Mix's words for its two kinds, where a strategy has both."""
    if kinds == 1:
        return name
    return f"{name}, {'global (Mixup)' if blended else 'regional (CutMix)'}"
