# SPDX-License-Identifier: MIT
"""What strategies make of the views, mixtures apart: filtered, masked, taken as negatives."""

from collections.abc import Sequence

from matplotlib import colormaps
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.report.grid import COLORS, INK, Row, Section, rgb, unnormalised
from mixmask_solo.strategies import InputFilter, Step, Strategy, Views


def inputs(
    strategy: Strategy,
    loaded: Sequence[Tensor],
    filtered: InputFilter | None,
    step: Step,
    *,
    pipeline: object,
    count: int,
) -> Section | None:
    """Rows of images below the view they are made of; None where a strategy makes none.

    Args:
        loaded: crops of one size, each ``(N, C, H, W)``, normalised.
        filtered: what every input passes first, if a strategy of the run has such a filter.
        pipeline: has the ``mean`` and ``std`` of the normalisation.
        count: images shown.
    """

    def row(label: str, images: Tensor, frame: str = INK) -> Row:
        return Row(label, rgb(unnormalised(images[:count].detach(), pipeline)), frame)

    clean = tuple(filtered(x) for x in loaded) if filtered else tuple(loaded)
    views = Views(clean, clean, tuple(loaded))
    filters = type(strategy).input_filter(strategy.options) is not None
    made: list[list[Row]] = [[row("filtered", x)] if filters else [] for x in clean]
    size = (loaded[0].shape[2], loaded[0].shape[3])
    for label, v, map_ in strategy.maps(views, step):
        made[v].append(Row(label, upsample(map_, size)[:count, 0], colors=colormaps["viridis"]))
    seen = strategy.views(views, step)
    for v, own in enumerate(clean):
        online, momentum = seen.online[v], [*seen.momentum, *clean[len(seen.momentum) :]][v]
        if online is momentum:
            made[v] += [row("networks see", online)] if online is not own else []
        else:
            sides = [("online sees", online), ("momentum sees", momentum)]
            made[v] += [row(label, x) for label, x in sides if x is not own]
    for branch in strategy.branches(clean, step):
        if branch.images is not None and branch.mixture is None:
            made[branch.view].append(row("branch", branch.images))
        if branch.negatives is not None:
            made[branch.view].append(row("its negative", branch.negatives))
    rows = [
        one
        for v, (x, below) in enumerate(zip(loaded, made, strict=True))
        if below
        for one in (row(f"view {v + 1}", x, COLORS[0]), *below)
    ]
    return Section(strategy.name, rows, size[0] / size[1]) if rows else None
