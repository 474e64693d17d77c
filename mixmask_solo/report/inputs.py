# SPDX-License-Identifier: MIT
"""What strategies make of the views, mixtures apart: filtered, masked, taken as negatives."""

from collections.abc import Sequence

from matplotlib import colormaps
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.report.grid import Row, Section, rgb, unnormalised
from mixmask_solo.report.palette import COLORS, INK
from mixmask_solo.strategies import InputFilter, Step, Strategy, Views


def inputs(
    strategy: Strategy,
    loaded: Sequence[Tensor],
    crops: Sequence[Tensor],
    filtered: InputFilter | None,
    step: Step,
    *,
    pipeline: object,
    count: int,
) -> Section | None:
    """Rows of images below the view they are made of; None where a strategy makes none.

    Args:
        loaded: the method's large crops, each ``(N, C, H, W)``, normalised.
        crops: those that the strategy takes for itself, alike; its branches are made of them.
        filtered: what every input passes first, if a strategy of the run has such a filter.
        pipeline: has the ``mean`` and ``std`` of the normalisation.
        count: images shown.
    """

    def row(label: str, images: Tensor, frame: str = INK) -> Row:
        return Row(label, rgb(unnormalised(images[:count].detach(), pipeline)), frame)

    everything = (*loaded, *crops)
    passed = tuple(filtered(x) for x in everything) if filtered else everything
    clean = passed[: len(loaded)]
    views = Views(clean, clean, tuple(loaded))
    filters = type(strategy).input_filter(strategy.options) is not None
    made: list[list[Row]] = [[row("filtered", x)] if filters else [] for x in passed]
    size = (loaded[0].shape[2], loaded[0].shape[3])
    for label, v, map_ in strategy.maps(views, step):
        made[v].append(Row(label, upsample(map_, size)[:count, 0], colors=colormaps["viridis"]))
    seen = strategy.views(views, step)
    for v, own in enumerate(clean):
        online, momentum = seen.online[v], [*seen.momentum, *clean[len(seen.momentum) :]][v]
        if online is momentum:
            made[v] += [row("seen", online)] if online is not own else []
        else:
            sides = [("online", online), ("momentum", momentum)]
            made[v] += [row(label, x) for label, x in sides if x is not own]
    places = iter(made[len(loaded) :])  # a branch a crop
    for branch in strategy.branches(passed, step):
        if branch.images is not None and branch.mixture is None:
            below = next(places, made[branch.view])
            below.append(row("branch", branch.images))
            below += [row("its target", branch.momentum)] if branch.momentum is not None else []
        if branch.negatives is not None:
            made[branch.view].append(row("negative", branch.negatives))
    rows = [
        one
        for v, (x, below) in enumerate(zip(everything, made, strict=True))
        if below
        for one in (row(f"{'view' if v < len(loaded) else 'crop'} {v + 1}", x, COLORS[0]), *below)
    ]
    return Section(strategy.name, rows, size[0] / size[1]) if rows else None
