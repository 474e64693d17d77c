# SPDX-License-Identifier: MIT
"""A picture of mixed images: what went in, which mask, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.colors import ListedColormap
from torch import Tensor

from mixmask_solo.masks import upsample
from mixmask_solo.mixtures import Mixture
from mixmask_solo.report.grid import Row, Section, draw, rgb
from mixmask_solo.report.style import COLORS, INK

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
    draw([_section(views, panel, count) for panel in panels], Path(path))
    return Path(path)


def _section(views: Tensor, panel: Panel, count: int) -> Section:
    mixture, mask, title = panel
    pixels = None if mask is None else _pixels(views, mask)
    if mixture.images.shape != views.shape:
        raise ValueError(
            f"views have shape {tuple(views.shape)}, mixed images {tuple(mixture.images.shape)}: "
            "need the images the mixture was made of"
        )
    rows = [
        Row("image", rgb(views[:count]), _OWN),
        Row("partner", rgb(views[mixture.partner[:count]]), _PARTNER),
        Row("mixed", rgb(mixture.images[:count]), INK),
    ]
    if pixels is not None:
        rows.insert(1, Row("mask", pixels[:count].cpu(), colors=_CELLS))
    lam = [f"λ = {share:.2f}" for share in mixture.lam[:count].tolist()]
    return Section(title, rows, views.shape[2] / views.shape[3], lam)


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
