# SPDX-License-Identifier: MIT
"""A picture of mixed images: what went in, which mask, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.style import COLORS, DPI, INK, RC

__all__ = ["Panel", "gallery"]

_WIDTH = 16.0  # inches, 1600 pixels
_LABEL, _EDGE, _GAP, _CAPTION, _TITLE = 1.45, 0.2, 0.09, 0.5, 0.62
_LARGEST = 3.0
_OWN, _PARTNER = COLORS[:2]


@dataclass(frozen=True)
class _Grid:
    """Places n columns of cells, in inches from the lower left corner."""

    rows: int
    columns: int
    aspect: float  # height over width of an image
    titled: bool

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of an image."""
        width = (_WIDTH - _LABEL - _EDGE) / self.columns - _GAP
        width = min(width, _LARGEST, _LARGEST / self.aspect)
        return width, width * self.aspect

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        width, height = self.cell
        head = _TITLE if self.titled else _EDGE
        full = self.rows * (height + _GAP) + _CAPTION + head
        return _LABEL + _EDGE + self.columns * (width + _GAP), full

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a cell as shares of the figure; row 0 is on top."""
        width, height = self.cell
        left = _LABEL + column * (width + _GAP)
        bottom = _CAPTION + (self.rows - 1 - row) * (height + _GAP)
        total = self.size
        return left / total[0], bottom / total[1], width / total[0], height / total[1]


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
    grids = [_Grid(len(rows), columns, aspect, panel.title is not None) for panel, rows in drawn]
    heights = [grid.size[1] for grid in grids]
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(grids[0].size[0], sum(heights)), dpi=DPI)
        parts = figure.subfigures(len(grids), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, grid, (panel, rows) in zip(parts, grids, drawn, strict=True):
            for row, (label, color, images) in enumerate(rows):
                _draw_row(part, grid, row, label, color, images)
            _write_lam(part, grid, panel.mixture.lam[:columns].tolist())
            if panel.title is not None:
                x, top = _LABEL / grid.size[0], 1 - 0.5 * _TITLE / grid.size[1]
                part.text(x, top, panel.title, fontsize=17, weight="bold", va="center")
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
        ("image", _OWN, _picture(views[shown])),
        ("partner", _PARTNER, _picture(views[mixture.partner[shown]])),
        ("mixed", INK, _picture(mixture.images[shown])),
    ]
    if pixels is not None:
        rows.insert(1, ("mask", None, pixels[shown].cpu()))
    return rows


def _draw_row(
    figure: FigureBase, grid: _Grid, row: int, label: str, color: str | None, images: Tensor
) -> None:
    """One row with its label; ``color`` None draws masks."""
    for column, image in enumerate(images):
        axes = figure.add_axes(grid.box(row, column))
        if color is None:
            colors = ListedColormap([_PARTNER, _OWN])
            axes.imshow(image.numpy(), cmap=colors, vmin=0, vmax=1, interpolation="nearest")
        else:
            axes.imshow(image.numpy(), vmin=0, vmax=1, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=color or "white", linewidth=0 if color in (None, INK) else 3)
    left, bottom, _, height = grid.box(row, 0)
    figure.text(
        left - 0.16 / grid.size[0],
        bottom + height / 2,
        label,
        fontsize=15,
        ha="right",
        va="center",
        color=color or INK,
        weight="bold",
    )


def _write_lam(figure: FigureBase, grid: _Grid, lam: list[float]) -> None:
    """Each image's own share below its column."""
    for column, share in enumerate(lam):
        left, bottom, width, _ = grid.box(grid.rows - 1, column)
        below = bottom - 0.24 / grid.size[1]
        figure.text(
            left + width / 2, below, f"λ = {share:.2f}", fontsize=14, ha="center", va="center"
        )


def _picture(images: Tensor) -> Tensor:
    """``(n, H, W, 3)`` on the CPU; one channel becomes grey, more than three are cut."""
    images = images.detach().float().cpu().clamp(0, 1)
    rgb = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return rgb.permute(0, 2, 3, 1)


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
