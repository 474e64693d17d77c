# SPDX-License-Identifier: MIT
"""The picture of decoders: which are in it, and whether it shows what their loaders give."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from mixmask_solo.bench.data_bench import alone
from mixmask_solo.cli.compose import compose
from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_pretrain
from mixmask_solo.report import decoders
from mixmask_solo.report.decoders import NAMES, compare
from mixmask_solo.report.grid import Row, Section

DALI = importlib.util.find_spec("nvidia") and importlib.util.find_spec("nvidia.dali")
needs_dali = pytest.mark.skipif(not DALI, reason="needs NVIDIA DALI")
RECIPES = "scripts/pretrain/digits"


def digits(*overrides: str) -> DictConfig:
    return compose(RECIPES, "simclr", ["data.num_workers=0", *overrides])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Sections and caption of the pictures that were asked for; nothing is drawn."""
    seen: list[Any] = []
    monkeypatch.setattr(
        decoders,
        "draw",
        lambda sections, path, smooth: seen.extend([sections, sections[-1].note]),
    )
    return seen


@pytest.mark.parametrize("name", ["pil", "resident", pytest.param("dali", marks=needs_dali)])
def test_rows_are_the_first_views_of_the_decoders_own_loader(
    tmp_path: Path, drawn: list[Any], name: str
) -> None:
    compare(digits(), tmp_path / "a.png", [name], n=4)
    cfg = alone(digits() if name == "pil" else digits(f"++data.format={name}"))
    data = build_pretrain(cfg)
    indexes, views, _ = next(iter(data.train_dataloader()))
    stored, *sections = drawn[0]
    for row, index in zip(stored.rows[0].images, indexes[:4].tolist(), strict=True):
        expected = torch.from_numpy(np.array(data.opened.image(index))) / 255
        torch.testing.assert_close(row, expected)
    assert [s.title[:6] for s in sections] == ["View 1", "View 2"]
    mean, std = (torch.tensor(v) for v in (data.pipelines[0].mean, data.pipelines[0].std))
    for section, view in zip(sections, views, strict=True):
        [(label, images, *_)] = section.rows
        assert label.startswith(name)
        expected = (view[:4].cpu().permute(0, 2, 3, 1) * std + mean).clamp(0, 1)
        torch.testing.assert_close(torch.stack(images), expected)


def test_the_picture_shows_them_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.png"
    assert compare(digits(), path, ["resident", "pil"], n=4) == {}
    picture = imread(path)
    top = Section("Stored images", [Row("stored", list(torch.zeros(4)))])
    assert picture.shape[1] == round(100 * top.size[0])
    left, bottom, width, height = top.box(0, 0)
    tall = round(100 * top.size[1])
    box = picture[
        round((1 - bottom - height) * tall) : round((1 - bottom) * tall),
        round(left * picture.shape[1]) : round((left + width) * picture.shape[1]),
        :3,
    ]
    middle = ((np.arange(8) + 0.5) / 8 * len(box)).astype(int)
    data = build_pretrain(alone(digits()))
    index = int(next(iter(data.train_dataloader()))[0][0])
    expected = np.array(data.opened.image(index)) / 255
    np.testing.assert_allclose(box[middle[:, None], middle], expected, atol=0.01)


@needs_dali
def test_dali_and_resident_make_the_same_views(tmp_path: Path, drawn: list[Any]) -> None:
    compare(digits(), tmp_path / "a.png", ["all"], n=4)
    sections, _ = drawn
    for section in sections[1:]:
        rows = {label.split()[0]: torch.stack(images) for label, images, *_ in section.rows}
        assert list(rows) == list(NAMES)
        assert (rows["dali"] - rows["resident"]).abs().mean() < 0.01
        assert (rows["pil"] - rows["resident"]).abs().mean() > 0.05


def photographs(folder: Path, sizes: list[tuple[int, int]], *overrides: str) -> DictConfig:
    """A configuration of noise of these widths and heights."""
    rng = np.random.default_rng(0)
    (folder / "class").mkdir(parents=True)
    for i, (width, height) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "class" / f"{i}.jpg")
    changes = [f"data.train_path={folder}", "data.dataset=custom", *overrides]
    return compose("scripts/pretrain/imagenet", "mocov2", changes)


def test_several_sizes_leave_resident_out_and_few_images_do_for_a_picture(
    tmp_path: Path, drawn: list[Any]
) -> None:
    cfg = photographs(tmp_path / "images", [(40, 20), (20, 40), (30, 30)])
    missing = compare(cfg, tmp_path / "a.png", ["pil", "resident"])
    assert list(missing) == ["resident"]
    assert "needs images of one size" in missing["resident"]
    sections, caption = drawn
    assert [len(section.rows[0].images) for section in sections] == [3, 3, 3]
    assert sections[0].aspect == 1.0
    assert caption.startswith("Training views of epoch 0.")


@needs_dali
def test_colours_first_leave_dali_out(tmp_path: Path, drawn: list[Any]) -> None:
    cfg = photographs(tmp_path / "images", [(40, 20)] * 2)
    OmegaConf.set_struct(cfg, False)
    cfg.augmentations[0].order = "colour_first"
    missing = compare(cfg, tmp_path / "a.png", ["all"])
    assert list(missing) == ["dali"]
    assert "colour_first" in missing["dali"]
    assert drawn[0][0].aspect == 0.5


def test_without_any_decoder_one_line_says_why(tmp_path: Path) -> None:
    cfg = photographs(tmp_path / "images", [(40, 20), (20, 40)])
    with pytest.raises(ConfigError, match="needs images of one size"):
        compare(cfg, tmp_path / "a.png", ["resident"])
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["residnt"], "'residnt': choose pil, dali, resident or all .did you mean resident"),
        ([], "--decoder is empty"),
    ],
)
def test_wrong_input_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(digits(), tmp_path / "a.png", names)
