# SPDX-License-Identifier: MIT
"""Pictures of rows of images, in sections one below the other, and how all pictures look."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib import style
from matplotlib.colors import Colormap
from matplotlib.figure import Figure, FigureBase
from torch import Tensor

from mixmask_solo.config.files import replacing
from mixmask_solo.report.palette import FAINT, INK

DPI = 100
STYLE = Path(__file__).with_name("pictures.mplstyle")
_WIDTH = 16.0  # inches, 1600 pixels
_LABEL, _EDGE, _GAP, _CAPTION, _TITLE = 1.6, 0.2, 0.09, 0.5, 0.62
_LARGEST = 3.0
_BELOW = 0.24  # from an image, or the edge, to the middle of a line of text


class Row(NamedTuple):
    """Images beside each other: ``(H, W, 3)`` within [0, 1], or ``(H, W)`` bool with ``colors``.

    ``frame`` is the colour of the label, and of frames unless it is the text's; None: no frame.
    """

    label: str
    images: Sequence[Tensor] | Tensor
    frame: str | None = None
    colors: Colormap | None = None


class Section(NamedTuple):
    """Rows of images of one size, and where they are placed; lengths are inches.

    ``aspect`` is height over width of an image; each column may have a caption below it, and all of
    them a note.
    """

    title: str | None
    rows: Sequence[Row]
    aspect: float = 1.0
    captions: Sequence[str] = ()
    note: str = ""

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of an image."""
        width = (_WIDTH - _LABEL - _EDGE) / len(self.rows[0].images) - _GAP
        width = min(width, _LARGEST, _LARGEST / self.aspect)
        return width, width * self.aspect

    @property
    def foot(self) -> float:
        """What is left below the images."""
        return _CAPTION if self.captions or self.note else _GAP

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of all."""
        width, height = self.cell
        full = self.foot + len(self.rows) * (height + _GAP)
        head = _EDGE if self.title is None else _TITLE
        return _LABEL + _EDGE + len(self.rows[0].images) * (width + _GAP), full + head

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of an image as shares of all; row 0 is on top."""
        (width, height), (wide, high) = self.cell, self.size
        left = _LABEL + column * (width + _GAP)
        bottom = self.foot + (len(self.rows) - 1 - row) * (height + _GAP)
        return left / wide, bottom / high, width / wide, height / high


def draw(sections: Sequence[Section], path: Path, *, smooth: bool = False) -> None:
    """Writes the picture, and makes its folder; pixels stay squares unless ``smooth``.

    A section that is alone goes without its title.
    """
    if len(sections) == 1:
        sections = [sections[0]._replace(title=None)]
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = [section.size for section in sections]
    heights = [height for _, height in sizes]
    with style.context([STYLE, {"image.interpolation": "auto" if smooth else "nearest"}]):
        figure = Figure(figsize=(sizes[0][0], sum(heights)), dpi=DPI)
        parts = figure.subfigures(len(sizes), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, section in zip(parts, sections, strict=True):
            _draw_section(part, section)
        save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure in the format of the name's ending; what was there stays until it is whole.

    A name without ending means PNG. Raises ValueError for an ending that is no format.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:] or "png")


def _draw_section(part: FigureBase, section: Section) -> None:
    wide, high = section.size
    if section.title is not None:
        place = _LABEL / wide, 1 - 0.5 * _TITLE / high
        part.text(*place, section.title, fontsize=17, weight="bold", va="center")
    for number, (label, images, frame, colors) in enumerate(section.rows):
        for column, image in enumerate(images):
            axes = part.add_axes(section.box(number, column))
            axes.imshow(image.numpy(), cmap=colors, vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(color=frame or "white", linewidth=0 if frame in (None, INK) else 3)
        left, bottom, _, height = section.box(number, 0)
        place = left - 0.16 / wide, bottom + height / 2
        name = part.text(*place, label, fontsize=15, weight="bold", color=frame or INK)
        name.set(ha="right", va="center")
    for column, caption in enumerate(section.captions):
        left, bottom, width, _ = section.box(len(section.rows) - 1, column)
        place = left + width / 2, bottom - _BELOW / high
        part.text(*place, caption, fontsize=14, ha="center", va="center")
    part.text(_LABEL / wide, _BELOW / high, section.note, fontsize=14, color=FAINT, va="center")


def unnormalised(images: Tensor, pipeline: Any) -> Tensor:
    """``(..., C, H, W)`` on the CPU with the values from before ``pipeline`` normalised them."""
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (pipeline.mean, pipeline.std))
    return images.float().cpu() * std + mean


def rgb(images: Tensor) -> Tensor:
    """``(n, H, W, 3)`` on the CPU; one channel becomes grey, more than three are cut."""
    images = images.detach().float().cpu().clamp(0, 1)
    rgb = images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)
    return rgb.permute(0, 2, 3, 1)
