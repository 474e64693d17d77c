# SPDX-License-Identifier: MIT
"""The gallery's picture read back, pixel by pixel where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.masks import blocked, upsample
from mixmask_solo.mixtures import mixmask, mixup, partner
from mixmask_solo.report.grid import DPI, Row, Section, draw, rgb, unnormalised
from mixmask_solo.report.inputs import inputs
from mixmask_solo.report.palette import COLORS
from mixmask_solo.report.picture import Panel, mixed, panels, picture
from mixmask_solo.runs.pretrain import resolve
from mixmask_solo.strategies import Branch, Step, Views, build_strategies, input_filter
from support.methods import run_config
from support.saliency import block as saliency_block
from support.saliency import localizer_file
from support.strategies import Centre, Centred, Harder, hard, mask, registered  # noqa: F401

OWN, PARTNER = (np.array(to_rgb(color)) for color in COLORS[:2])


def gallery(x: torch.Tensor, drawn: Sequence[Panel], path: Path, *, count: int = 8) -> Path:
    draw([mixed(x, panel, count) for panel in drawn], path)
    return path


def flat_images(n: int, channels: int = 3, size: tuple[int, int] = (16, 24)) -> torch.Tensor:
    """Image i is of one grey, (i + 1) / (n + 1)."""
    grey = torch.arange(1, n + 1) / (n + 1)
    return grey.view(n, 1, 1, 1).expand(n, channels, *size).contiguous()


def grid_of(rows: int, columns: int, *, titled: bool) -> Section:
    """Where the images of a picture are, each of which has a λ below it."""
    row = Row("", flat_images(columns))
    return Section("title" if titled else None, [row] * rows, 16 / 24, note="captioned")


def cells(picture: np.ndarray[Any, Any], grid: Section, row: int, at: int) -> np.ndarray[Any, Any]:
    """The middle of each of 4×4 cells of the image in a row and a column."""
    high, wide = picture.shape[:2]
    left, bottom, width, height = grid.box(row, at)
    middle = (np.arange(4) + 0.5) / 4
    columns = ((left + middle * width) * wide).astype(int)
    rows = ((1 - bottom - height + middle * height) * high).astype(int)
    return picture[rows[:, None], columns, :3]


def pixels(mask: torch.Tensor, n: int) -> torch.Tensor:
    """``(n, 16, 24)`` of cells."""
    return upsample(mask, (16, 24))[:, 0].expand(n, 16, 24)


@pytest.mark.parametrize("masks", [8, 1])
def test_every_cell_shows_its_source(tmp_path: Path, masks: int) -> None:
    x, who = flat_images(8), partner("roll", 8)
    mask = blocked(masks, 4, generator=torch.Generator().manual_seed(0))
    drawn = [Panel(mixmask(x, mask, who), pixels(mask, 8), "MixMask")]
    path = gallery(x, drawn, tmp_path / "a.png")
    picture, grid = imread(path), grid_of(4, 8, titled=False)
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
    picture = imread(gallery(x, [Panel(mixture, None, "unmix")], tmp_path / "b.png"))
    grid = grid_of(3, 3, titled=False)
    assert picture.shape[1] < 16 * DPI
    for i, lam in enumerate((0.25, 0.5, 1.0)):
        grey = lam * (i + 1) / 4 + (1 - lam) * (3 - i) / 4
        assert np.abs(cells(picture, grid, 2, i) - grey).max() < 0.01


def test_no_more_columns_than_asked_for_with_partners_from_beyond(tmp_path: Path) -> None:
    x, who = flat_images(20), partner("reverse", 20)
    mask = torch.zeros(1, 2, 2, dtype=torch.bool)
    mask[0, 0, 0] = True
    drawn = [Panel(mixmask(x, mask, who), pixels(mask, 20), "mixmask")]
    path = gallery(x, drawn, tmp_path / "c.png", count=4)
    picture, grid = imread(path), grid_of(4, 4, titled=False)
    assert picture.shape[1] == round(grid.size[0] * DPI)
    assert np.abs(cells(picture, grid, 3, 0)[3, 3] - 20 / 21).max() < 0.01


def test_panels_stand_one_below_the_other_each_in_its_own_geometry(tmp_path: Path) -> None:
    x, who = flat_images(4), partner("reverse", 4)
    mask = blocked(1, 4, generator=torch.Generator().manual_seed(0))
    drawn = [
        Panel(mixmask(x, mask, who), pixels(mask, 4), "mixmask"),
        Panel(mixup(x, torch.tensor(0.25), who), None, "unmix"),
    ]
    picture = imread(gallery(x, drawn, tmp_path / "e.png"))
    first, second = grid_of(4, 4, titled=True), grid_of(3, 4, titled=True)
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
        ({"mixmask": {"grid_size": 4}}, ["mixmask"]),
        ({"unmix": {"prob": 1.0}}, ["unmix"]),
        ({"unmix": {}}, ["unmix, global (Mixup)", "unmix, regional (CutMix)"]),
        (
            {"unmix": {}, "mixmask": {"grid_size": 4, "prob": 0.2}},
            ["mixmask", "unmix, global (Mixup)", "unmix, regional (CutMix)"],
        ),
    ],
)
def test_every_kind_of_mixture_gets_a_panel(kwargs: Any, titles: list[str]) -> None:
    x = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    strategies = build_strategies(OmegaConf.create({"method_kwargs": kwargs}))
    drawn = panels(strategies, x, seed=5)
    assert sorted(p.title for p in drawn) == titles
    for panel in drawn:
        mixed, lam, who = panel.mixture
        if panel.mask is None:
            torch.testing.assert_close(mixed, torch.lerp(x[who], x, lam.view(-1, 1, 1, 1)))
        else:
            torch.testing.assert_close(mixed, torch.where(panel.mask[:, None], x, x[who]))


def test_a_batch_that_is_never_mixed_has_no_panel() -> None:
    cfg = OmegaConf.create({"method_kwargs": {"mixmask": {"prob": 0.0}}})
    assert panels(build_strategies(cfg), torch.rand(2, 3, 16, 16), seed=5) == []


CPU = torch.device("cpu")
HALF = SimpleNamespace(mean=(0.5,) * 3, std=(0.25,) * 3)


def rows_of(
    kwargs: dict[str, Any], crops: Sequence[torch.Tensor] = ()
) -> list[tuple[str, torch.Tensor]]:
    """Labels and images of the one strategy's section, two views of which went in."""
    [strategy] = build_strategies(OmegaConf.create({"method_kwargs": kwargs}))
    filtered = input_filter([(type(strategy), strategy.options)])
    step = Step(5, 0, 0, 0, CPU)
    section = inputs(strategy, views(), crops, filtered, step, pipeline=HALF, count=2)
    return [(row.label, torch.as_tensor(row.images)) for row in section.rows] if section else []


def views() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(4, 3, 8, 8, generator=generator) - 0.5 for _ in range(2)]


def as_shown(x: torch.Tensor) -> torch.Tensor:
    return rgb(unnormalised(x[:2], HALF))


@pytest.mark.usefixtures("registered")
def test_rows_below_a_view_show_what_is_made_of_it() -> None:
    one, two = views()
    centre = Centre(1.0)
    expected = {
        "harder": [
            ("view 1", one), ("online", mask(one)), ("negative", hard(two)),
            ("view 2", two), ("online", mask(two)), ("negative", hard(one)),
        ],
        "centred": [
            ("view 1", one), ("filtered", centre(one)),
            ("view 2", two), ("filtered", centre(two)), ("branch", centre(two)),
        ],
    }  # fmt: skip
    for name, rows in expected.items():
        shown = rows_of({name: {}})
        assert [label for label, _ in shown] == [label for label, _ in rows]
        for (_, images), (_, own) in zip(shown, rows, strict=True):
            torch.testing.assert_close(images, as_shown(own))
    assert rows_of({"mixmask": {"grid_size": 4}}) == []


@pytest.mark.usefixtures("registered")
def test_both_networks_and_maps_have_rows_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = views()
    where = torch.rand(4, 2, 4)

    def both(self: Harder, views: Views, step: Step) -> Views:
        dark = views.online[1] * 0
        return views._replace(online=[one, dark], momentum=[views.online[0] * 2, dark])

    monkeypatch.setattr(Harder, "views", both)
    monkeypatch.setattr(Harder, "branches", lambda *_: [])
    monkeypatch.setattr(Harder, "maps", lambda *_: [("saliency", 1, where)])
    shown = rows_of({"harder": {}})
    assert [label for label, _ in shown] == [
        "view 1", "online", "momentum", "view 2", "saliency", "seen",
    ]  # fmt: skip
    torch.testing.assert_close(shown[2][1], as_shown(one * 2))
    assert torch.equal(shown[4][1], upsample(where[:2], (8, 8))[:, 0])


@pytest.mark.usefixtures("registered")
def test_crops_of_its_own_are_shown_with_the_branches_made_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crops = [torch.rand(4, 3, 8, 8) for _ in range(2)]

    def of_crops(self: Harder, views: Sequence[torch.Tensor], step: Step) -> list[Branch]:
        first, second = views[2:]
        last = Branch(self.name, second * 3, view=1, momentum=second * 4)
        return [Branch(self.name, first * 2), last]

    monkeypatch.setattr(Harder, "views", lambda self, views, step: views)
    monkeypatch.setattr(Harder, "branches", of_crops)
    one, two = crops
    expected = [
        ("crop 3", one), ("branch", one * 2),
        ("crop 4", two), ("branch", two * 3), ("its target", two * 4),
    ]  # fmt: skip
    for (label, images), (name, own) in zip(rows_of({"harder": {}}, crops), expected, strict=True):
        assert label == name
        torch.testing.assert_close(images, as_shown(own))


def test_slots_and_saliency_are_maps(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    loaded = [torch.rand(4, 3, 24, 24, generator=generator) for _ in range(2)]
    step = Step(5, 0, 0, 0, CPU)
    for kwargs, labels in (
        ({"adios": {"slots": 3}}, ["view 2", "slot 1", "slot 2", "slot 3", *["branch"] * 3]),
        (
            {"saliency": saliency_block(localizer_file(tmp_path / "weights.pth"), fill="mean")},
            ["view 1", "saliency", "foreground", "online", "negative"]
            + ["view 2", "saliency", "foreground"],
        ),
    ):
        [strategy] = build_strategies(resolve(run_config("simclr", kwargs)))
        section = inputs(strategy, loaded, [], None, step, pipeline=HALF, count=4)
        assert section is not None
        assert [row.label for row in section.rows] == labels
        maps = {row.label: torch.as_tensor(row.images) for row in section.rows if row.colors}
        if "slot 1" in maps:
            torch.testing.assert_close(sum(maps.values()), torch.ones(4, 24, 24))
            hidden = as_shown(loaded[1][:2] * (1 - maps["slot 2"][:2, None]))
            torch.testing.assert_close(torch.as_tensor(section.rows[5].images)[:2], hidden)
        else:
            assert maps["saliency"].amin((1, 2)).abs().max() == 0
            assert torch.equal(maps["saliency"].amax((1, 2)), torch.ones(4))
            assert set(maps["foreground"].unique().tolist()) == {0.0, 1.0}
            for saliency, front in zip(maps["saliency"], maps["foreground"] == 1, strict=True):
                assert saliency[front].min() >= saliency[~front].max()


@pytest.mark.usefixtures("registered")
def test_a_picture_of_all_kinds_and_one_of_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError) as error:
        picture(run_config("simclr", {}), tmp_path / "d.png")
    assert str(error.value) == (
        "no image is changed in the first 64 steps by any strategy: "
        "add e.g. +method_kwargs.mixmask.grid_size=4"
    )
    with pytest.raises(ConfigError, match=r"by method_kwargs.mixmask: raise .*\.prob"):
        picture(run_config("simclr", {"mixmask": {"prob": 0}}), tmp_path / "d.png")

    def second(self: Centred, views: Sequence[torch.Tensor], step: Step) -> list[Branch]:
        assert views[1].shape[1] == 3
        mixture = mixup(views[1], torch.tensor(0.25), partner("roll", len(views[1])))
        return [Branch.of(self.name, mixture, view=1)]

    monkeypatch.setattr(Centred, "branches", second)
    picture(run_config("simclr", {"centred": {}, "harder": {}}), tmp_path / "d.png", n=3)
    assert imread(tmp_path / "d.png").shape[0] > 10 * DPI
