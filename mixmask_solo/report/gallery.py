# SPDX-License-Identifier: MIT
"""A picture of mixed images: what went in, which mask, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.grid import Grid, draw_row, rgb, write_title
from mixmask_solo.report.style import COLORS, DPI, INK, RC

__all__ = ["Panel", "gallery"]

_OWN, _PARTNER = COLORS[:2]
_CELLS = ListedColormap([_PARTNER, _OWN])


class Panel(NamedTuple):
    """One way the images were mixed.

    Args:
        mixture: of the views, within [0, 1].
        mask: True = own pixel: cells ``(n, g, g)`` or pixels ``(n, H, W)`` or ``(n, 1, H, W)`` with
            n = N or 1; None leaves the row out (Mixup has no mask).
        title: line above the panel.
    """

    mixture: Mixture
    mask: Tensor | None
    title: str | None = None


def gallery(views: Tensor, panels: Sequence[Panel], path: Path | str, *, count: int = 8) -> Path:
    """Draws images, masks, partners and mixed images in rows, each λ below its column.

    Blue stands for the image itself (frame, and the cells of the mask it keeps), orange for its
    partner.

    Args:
        views: ``(N, C, H, W)`` within [0, 1], what was mixed; one or three channels are shown.
        panels: one below the other.
        path: picture to write, the suffix tells the format.
        count: columns at most.

    Returns:
        ``path``.

    Raises:
        ValueError: where views, mixture and mask do not belong together.
    """
    path = Path(path)
    drawn = [(panel, _rows(views, panel, count)) for panel in panels]
    aspect = views.shape[2] / views.shape[3]
    columns = min(count, len(views))
    grids = [Grid(len(rows), columns, aspect, panel.title is not None) for panel, rows in drawn]
    heights = [grid.size[1] for grid in grids]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(grids[0].size[0], sum(heights)), dpi=DPI)
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, (panel, rows) in zip(parts, grids, drawn, strict=True):
            for row, (label, color, images) in enumerate(rows):
                draw_row(part, grid, row, label, images, color, colors=None if color else _CELLS)
            _write_lam(part, grid, panel.mixture.lam[:columns].tolist())
            if panel.title is not None:
                write_title(part, grid, panel.title)
        figure.savefig(path)
    return path


def _rows(views: Tensor, panel: Panel, count: int) -> list[tuple[str, str | None, Tensor]]:
    """Label, colour and ``(n, H, W, 3)`` images or ``(n, H, W)`` masks of each row."""
    mixture, mask, _ = panel
    pixels = None if mask is None else _pixels(views, mask)
    if mixture.images.shape != views.shape:
        raise ValueError(
            f"views have shape {tuple(views.shape)}, mixed images {tuple(mixture.images.shape)}: "
            "need the images the mixture was made of"
        )
    shown = slice(0, count)
    rows: list[tuple[str, str | None, Tensor]] = [
        ("image", _OWN, rgb(views[shown])),
        ("partner", _PARTNER, rgb(views[mixture.partner[shown]])),
        ("mixed", INK, rgb(mixture.images[shown])),
    ]
    if pixels is not None:
        rows.insert(1, ("mask", None, pixels[shown].cpu()))
    return rows


def _write_lam(figure: FigureBase, grid: Grid, lam: list[float]) -> None:
    """Each image's own share below its column."""
    for column, share in enumerate(lam):
        left, bottom, width, _ = grid.box(grid.rows - 1, column)
        below = bottom - 0.24 / grid.size[1]
        figure.text(
            left + width / 2, below, f"λ = {share:.2f}", fontsize=14, ha="center", va="center"
        )


def _pixels(views: Tensor, mask: Tensor) -> Tensor:
    """``(N, H, W)`` from a mask in any of its shapes."""
    n, _, height, width = views.shape
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask[:, 0]
    if mask.ndim != 3 or mask.shape[0] not in (1, n):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}: need cells (n, g, g) or pixels "
            f"(n, {height}, {width}) with n = {n} or 1"
        )
    return upsample(mask, (height, width))[:, 0].expand(n, height, width)
