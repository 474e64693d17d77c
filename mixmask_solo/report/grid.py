# SPDX-License-Identifier: MIT
"""Rows of images of one size: where they are placed, and how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.colors import Colormap
from matplotlib.figure import FigureBase
from torch import Tensor

from mixmask_solo.report.style import INK

__all__ = ["Grid", "draw_row", "rgb", "write_title"]

_WIDTH = 16.0  # inches, 1600 pixels
_LABEL, _EDGE, _GAP, _CAPTION, _TITLE = 1.45, 0.2, 0.09, 0.5, 0.62
_LARGEST = 3.0


@dataclass(frozen=True)
class Grid:
    """Places n columns of cells, in inches from the lower left corner."""

    rows: int
    columns: int
    aspect: float  # height over width of an image
    titled: bool
    captioned: bool = True

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
        full = self.rows * (height + _GAP) + self._foot + head
        return _LABEL + _EDGE + self.columns * (width + _GAP), full

    @property
    def _foot(self) -> float:
        return _CAPTION if self.captioned else _GAP

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of a cell as shares of the figure; row 0 is on top."""
        width, height = self.cell
        left = _LABEL + column * (width + _GAP)
        bottom = self._foot + (self.rows - 1 - row) * (height + _GAP)
        total = self.size
        return left / total[0], bottom / total[1], width / total[0], height / total[1]


def draw_row(
    figure: FigureBase,
    grid: Grid,
    row: int,
    label: str,
    images: Iterable[Tensor],
    frame: str | None = None,
    *,
    colors: Colormap | None = None,
    smooth: bool = False,
) -> None:
    """One row with its label.

    Args:
        figure: drawn into.
        grid: its places.
        row: 0 is on top.
        label: on the left.
        images: one a column, ``(H, W, 3)`` within [0, 1], or ``(H, W)`` bool with ``colors``.
        frame: colour of the label, and of frames unless it is the text's; None for no frame.
        colors: of masks.
        smooth: whether images are resampled; else pixels stay squares.
    """
    interpolation = "auto" if smooth else "nearest"
    for column, image in enumerate(images):
        axes = figure.add_axes(grid.box(row, column))
        axes.imshow(image.numpy(), cmap=colors, vmin=0, vmax=1, interpolation=interpolation)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=frame or "white", linewidth=0 if frame in (None, INK) else 3)
    left, bottom, _, height = grid.box(row, 0)
    figure.text(
        left - 0.16 / grid.size[0],
        bottom + height / 2,
        label,
        fontsize=15,
        ha="right",
        va="center",
        color=frame or INK,
        weight="bold",
    )


def write_title(figure: FigureBase, grid: Grid, title: str) -> None:
    """A line above the rows of a titled grid."""
    x, top = _LABEL / grid.size[0], 1 - 0.5 * _TITLE / grid.size[1]
    figure.text(x, top, title, fontsize=17, weight="bold", va="center")


def rgb(images: Tensor) -> Tensor:
    """``(n, H, W, 3)`` on the CPU; one channel becomes grey, more than three are cut."""
    images = images.detach().float().cpu().clamp(0, 1)
    rgb = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return rgb.permute(0, 2, 3, 1)
