# SPDX-License-Identifier: MIT
"""The gallery's picture read back, pixel by pixel where it matters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from omegaconf import OmegaConf

from mixmask_solo.masks import blocked, upsample
from mixmask_solo.mixtures import mixmask, mixup, partner
from mixmask_solo.report.gallery import Panel, gallery
from mixmask_solo.report.grid import Grid
from mixmask_solo.report.picture import panels
from mixmask_solo.report.style import COLORS, DPI
from mixmask_solo.strategies import build_strategies

OWN, PARTNER = (np.array(to_rgb(color)) for color in COLORS[:2])


def flat_images(n: int, channels: int = 3, size: tuple[int, int] = (16, 24)) -> torch.Tensor:
    """Image i is of one grey, (i + 1) / (n + 1)."""
    grey = torch.arange(1, n + 1) / (n + 1)
    return grey.view(n, 1, 1, 1).expand(n, channels, *size).contiguous()


def cells(picture: np.ndarray[Any, Any], grid: Grid, row: int, at: int) -> np.ndarray[Any, Any]:
    """The middle of each of 4×4 cells of the image in a row and a column."""
    high, wide = picture.shape[:2]
    left, bottom, width, height = grid.box(row, at)
    middle = (np.arange(4) + 0.5) / 4
    columns = ((left + middle * width) * wide).astype(int)
    rows = ((1 - bottom - height + middle * height) * high).astype(int)
    return picture[rows[:, None], columns, :3]


@pytest.mark.parametrize("kind", ["cells", "pixels", "pixels of one channel", "one for all"])
def test_every_cell_shows_its_source(tmp_path: Path, kind: str) -> None:
    x, who = flat_images(8), partner("roll", 8)
    masks = 1 if kind == "one for all" else 8
    mask = blocked(masks, 4, generator=torch.Generator().manual_seed(0))
    full = upsample(mask, (16, 24))
    shown = {"pixels": full[:, 0], "pixels of one channel": full}.get(kind, mask)
    path = gallery(x, [Panel(mixmask(x, mask, who), shown, "MixMask")], tmp_path / "a.png")
    picture, grid = imread(path), Grid(4, 8, 16 / 24, titled=True)
    assert picture.shape[1] == 16 * DPI
    for i in range(8):
        own = mask[i % masks].numpy()[:, :, None]
        grey = (i + 1) / 9, (int(who[i]) + 1) / 9
        expected = [np.full(3, grey[0]), np.where(own, OWN, PARTNER), np.full(3, grey[1])]
        expected.append(np.where(own, *grey))
        for row, colors in enumerate(expected):
            assert np.abs(cells(picture, grid, row, i) - colors).max() < 0.01, (row, i)


def test_mixup_has_no_mask_and_few_images_make_a_narrow_picture(tmp_path: Path) -> None:
    x, who = flat_images(3, channels=1), partner("reverse", 3)
    mixture = mixup(x, torch.tensor([0.25, 0.5, 1.0]), who)
    picture = imread(gallery(x, [Panel(mixture, None)], tmp_path / "b.png"))
    grid = Grid(3, 3, 16 / 24, titled=False)
    assert picture.shape[1] < 16 * DPI
    for i, lam in enumerate((0.25, 0.5, 1.0)):
        grey = lam * (i + 1) / 4 + (1 - lam) * (3 - i) / 4
        assert np.abs(cells(picture, grid, 2, i) - grey).max() < 0.01


def test_no_more_columns_than_asked_for_with_partners_from_beyond(tmp_path: Path) -> None:
    x, who = flat_images(20), partner("reverse", 20)
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True
    path = gallery(x, [Panel(mixmask(x, mask, who), mask)], tmp_path / "c.png", count=4)
    picture, grid = imread(path), Grid(4, 4, 16 / 24, titled=False)
    assert picture.shape[1] == round(grid.size[0] * DPI)
    assert np.abs(cells(picture, grid, 3, 0)[3, 3] - 20 / 21).max() < 0.01


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    x, who = flat_images(4), partner("roll", 4)
    mask = blocked(4, 4)
    with pytest.raises(ValueError, match="mask has shape"):
        gallery(x, [Panel(mixmask(x, mask, who), mask[:3])], tmp_path / "d.png")
    with pytest.raises(ValueError, match="need the images"):
        gallery(x[:3], [Panel(mixmask(x, mask, who), mask[:3])], tmp_path / "d.png")
    assert not (tmp_path / "d.png").exists()


def test_panels_stand_one_below_the_other_each_in_its_own_geometry(tmp_path: Path) -> None:
    x, who = flat_images(4), partner("reverse", 4)
    mask = blocked(1, 4, generator=torch.Generator().manual_seed(0))
    drawn = [
        Panel(mixmask(x, mask, who), mask, "mixmask"),
        Panel(mixup(x, torch.tensor(0.25), who), None, "unmix"),
    ]
    picture = imread(gallery(x, drawn, tmp_path / "e.png"))
    first, second = Grid(4, 4, 16 / 24, titled=True), Grid(3, 4, 16 / 24, titled=True)
    cut = round(first.size[1] * DPI)
    assert abs(len(picture) - cut - second.size[1] * DPI) <= 2
    assert (
        np.abs(
            cells(picture[:cut], first, 1, 0) - np.where(mask[0, :, :, None], OWN, PARTNER)
        ).max()
        < 0.01
    )
    assert np.abs(cells(picture[cut:], second, 2, 0) - (0.25 * 0.2 + 0.75 * 0.8)).max() < 0.01


@pytest.mark.parametrize(
    ("kwargs", "titles"),
    [
        ({"mixmask": {"grid_size": 4}}, [None]),
        ({"unmix": {"prob": 1.0}}, [None]),
        ({"unmix": {}}, ["unmix, global (Mixup)", "unmix, regional (CutMix)"]),
        (
            {"unmix": {}, "mixmask": {"grid_size": 4, "prob": 0.2}},
            ["mixmask", "unmix, global (Mixup)", "unmix, regional (CutMix)"],
        ),
    ],
)
def test_every_kind_of_mixture_gets_a_panel(kwargs: Any, titles: list[str | None]) -> None:
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    strategies = build_strategies(OmegaConf.create({"method_kwargs": kwargs}))
    drawn = panels(strategies, x, seed=5)
    assert sorted(p.title or "" for p in drawn) == sorted(t or "" for t in titles)
    for panel in drawn:
        mixed, lam, who = panel.mixture
        if panel.mask is None:
            torch.testing.assert_close(mixed, torch.lerp(x[who], x, lam.view(-1, 1, 1, 1)))
        else:
            torch.testing.assert_close(mixed, torch.where(panel.mask[:, None], x, x[who]))


def test_a_batch_that_is_never_mixed_has_no_panel() -> None:
    cfg = OmegaConf.create({"method_kwargs": {"mixmask": {"prob": 0.0}}})
    assert panels(build_strategies(cfg), torch.rand(2, 3, 16, 16), seed=5) == []
