# SPDX-License-Identifier: MIT
"""Whole batches: against Pillow with the same draws, and against the PIL decoder's distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data.augmentations.draws import DRAWS, Draws
from mixmask_solo.data.augmentations.pipeline import build
from mixmask_solo.data.augmentations.randomness import keys
from mixmask_solo.data.batched.plan import plan
from mixmask_solo.data.batched.views import View, views_of

CPU = torch.device("cpu")
EDGE = 24
UNIT = {"mean": [0.0] * 3, "std": [1.0] * 3}
JITTER = {"prob": 0.8, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2, "hue": 0.1}
EVERYTHING: dict[str, Any] = {
    "rrc": {"crop_min_scale": 0.2},
    "color_jitter": JITTER,
    "grayscale": {"prob": 0.2},
    "gaussian_blur": {"prob": 0.5, "sigma": [0.1, 2.0]},
    "solarization": {"prob": 0.2},
    "equalization": {"prob": 0.1},
    "horizontal_flip": {"prob": 0.5},
}
GLYPHS: dict[str, Any] = {
    "pipeline": "glyphs",
    "rrc": {"crop_min_scale": 0.6},
    "rotation": {"degrees": 15, "prob": 0.7},
    "color_jitter": {"prob": 0.8, "brightness": 0.4, "contrast": 0.4},
}
COLOUR_FIRST: dict[str, Any] = {
    "order": "colour_first",
    "rrc": {"crop_min_scale": 0.2, "interpolation": "bilinear"},
    "color_jitter": JITTER,
    "grayscale": {"prob": 0.2},
    "horizontal_flip": {"prob": 0.5},
}


def pictures(count: int) -> NDArray[np.uint8]:
    """(count, 24, 24, 3): smooth colours with a little noise, as photographs have them."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:EDGE, 0:EDGE] / EDGE
    waves = rng.uniform(0.5, 7, (count, 1, 1, 3)) * x[None, :, :, None]
    waves = waves + rng.uniform(0.5, 7, (count, 1, 1, 3)) * y[None, :, :, None]
    clean = 128 + 110 * np.sin(waves + rng.uniform(0, 6, (count, 1, 1, 3)))
    return np.clip(clean + rng.normal(0, 8, clean.shape), 0, 255).astype(np.uint8)


def pipeline(node: dict[str, Any], size: int = 16):
    name = node.get("pipeline", "solo")
    return build(name, {"crop_size": size} | UNIT | node, DATASETS["cifar10"])


def drawn(chosen, indexes) -> Draws:
    sizes = np.tile([[EDGE, EDGE]], (len(indexes), 1))
    return DRAWS[chosen.name](chosen.options, sizes, keys(0, 0, indexes, 0))


def made(chosen, images: NDArray[np.uint8], indexes) -> torch.Tensor:
    planes = torch.from_numpy(images.transpose(3, 0, 1, 2).copy())
    [view] = views_of([chosen])

    def pixels(rows):
        return planes.index_select(1, torch.from_numpy(indexes[rows] % len(images)))

    return view.make(pixels, drawn(chosen, indexes), CPU)


def with_pillow(image: Image.Image, chosen: Any, draws: Draws, row: int) -> NDArray[np.float64]:
    """One view, image by image and operation by operation."""
    size, mode = chosen.crop_size, InterpolationMode(chosen.options.rrc.interpolation)
    if chosen.colour_first:
        image = colours_with_pillow(image, draws, row)
    image = F.resized_crop(image, *draws.box[row].tolist(), (size, size), mode)
    if draws.angle[row]:
        image = F.rotate(image, float(draws.angle[row]), InterpolationMode.BILINEAR)
    if not chosen.colour_first:
        image = colours_with_pillow(image, draws, row)
    if draws.sigma[row]:
        image = image.filter(ImageFilter.GaussianBlur(float(draws.sigma[row])))
    if draws.solarize[row]:
        image = ImageOps.solarize(image)
    if draws.equalize[row]:
        image = ImageOps.equalize(image)
    return np.asarray(F.hflip(image) if draws.flip[row] else image, dtype=np.float64)


def colours_with_pillow(image: Image.Image, draws: Draws, row: int) -> Image.Image:
    change = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
    for operation in draws.order[row] if draws.jitter[row] else ():
        factor = float(draws.factors[row, operation])
        if factor != (
            0.0 if operation == 3 else 1.0
        ):  # without strength, torchvision leaves it out
            image = change[operation](image, factor)
    return F.rgb_to_grayscale(image, 3) if draws.gray[row] else image


@pytest.mark.parametrize(
    ("node", "mean", "most"),
    [
        # mean and 99 % quantile of the difference in grey levels; few pixels differ by much,
        # where solarisation falls on the other side of its step, or by Pillow's hue of 8 bits
        (EVERYTHING | {"solarization": {"prob": 0.0}, "equalization": {"prob": 0.0}}, 1.5, 8.0),
        (EVERYTHING | {"solarization": {"prob": 0.0}}, 2.3, 40.0),
        (EVERYTHING, 2.6, 60.0),
        (GLYPHS, 1.1, 3.0),
        (COLOUR_FIRST, 1.5, 8.0),
    ],
)
def test_equal_draws_make_pillows_views(node, mean, most) -> None:
    chosen = pipeline(node)
    images, indexes = pictures(300), np.arange(300)
    draws = drawn(chosen, indexes)
    found = made(chosen, images, indexes).permute(0, 2, 3, 1).numpy() * 255
    theirs = np.stack([with_pillow(Image.fromarray(images[i]), chosen, draws, i) for i in indexes])
    apart = np.abs(found - theirs)
    assert apart.mean() < mean
    assert np.quantile(apart, 0.99) < most


ALONE = [
    {"rrc": {"crop_min_scale": 0.2}},
    {"color_jitter": {"prob": 0.8, "brightness": 0.4}},
    {"color_jitter": {"prob": 0.8, "contrast": 0.8}},
    {"color_jitter": {"prob": 0.8, "saturation": 0.8}},
    {"color_jitter": {"prob": 0.8, "hue": 0.2}},
    {"grayscale": {"prob": 0.3}},
    {"gaussian_blur": {"prob": 0.5}},
    {"solarization": {"prob": 0.3}},
    {"equalization": {"prob": 0.3}},
    {"horizontal_flip": {"prob": 0.5}},
    EVERYTHING,
    GLYPHS,
    COLOUR_FIRST,
]


@pytest.mark.parametrize("node", ALONE, ids=lambda node: "-".join(node)[:40])
def test_views_have_the_pil_decoders_distribution(node) -> None:
    """Of a fixed image: mean, deviation and quantiles of channels and pixels over many views."""
    many = 2000
    chosen = pipeline({"rrc": {"enabled": False}} | node, EDGE if "rrc" not in node else 16)
    images = pictures(1)
    ours = made(chosen, images, np.arange(many))
    torch.manual_seed(1)
    picture = Image.fromarray(images[0])
    theirs = torch.stack([chosen(picture) for _ in range(many)])
    for statistic in (lambda x: x.mean(dim=(2, 3)), lambda x: x[:, :, 3:9:2, 5].flatten(1)):
        a, b = (np.sort(statistic(views).numpy() * 255, axis=0) for views in (ours, theirs))
        spread = b.std(axis=0)
        # on top of chance: Pillow cuts decimals off in every blend, half a level each
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 0.16 * spread + 2.0).all()
        assert (np.abs(a.std(axis=0) - spread) < 0.16 * spread + 0.7).all()
        assert (np.abs(a - b).mean(axis=0) < 0.16 * spread + 2.0).all()  # all quantiles


@pytest.mark.parametrize("edges", [(24, 24), (20, 30), (33, 17)])
def test_without_a_crop_the_whole_image_is_resized(edges) -> None:
    chosen = pipeline({"rrc": {"enabled": False}, "horizontal_flip": {"prob": 0.5}})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, *edges, 3), dtype=np.uint8)
    flips = drawn(chosen, np.arange(6)).flip
    assert 0 < flips.sum() < 6
    found = made(chosen, images, np.arange(6)).permute(0, 2, 3, 1).numpy() * 255
    for i, image in enumerate(images):
        picture = F.center_crop(F.resize(Image.fromarray(image), 16, InterpolationMode.BICUBIC), 16)
        picture = F.hflip(picture) if flips[i] else picture
        assert np.abs(found[i] - np.asarray(picture)).max() < 1.3


def test_a_view_does_not_depend_on_its_batch() -> None:
    chosen, images = pipeline(EVERYTHING), pictures(40)
    together = made(chosen, images, np.arange(40))
    for part in (np.array([7]), np.array([31, 7, 2]), np.arange(39, -1, -1)):
        assert torch.allclose(made(chosen, images, part), together[part], atol=1e-5)


def test_chunks_for_the_cache_change_nothing(monkeypatch) -> None:
    chosen, images = pipeline(EVERYTHING), pictures(40)
    whole = made(chosen, images, np.arange(40))
    monkeypatch.setattr("mixmask_solo.data.batched.views._PIXELS_AT_ONCE", 7 * 16**2)
    assert torch.allclose(made(chosen, images, np.arange(40)), whole, atol=1e-5)


def test_views_are_normalised() -> None:
    images, indexes = pictures(5), np.arange(5)
    plain = pipeline({"rrc": {"enabled": False}}, EDGE)
    scaled = pipeline(
        {"rrc": {"enabled": False}, "mean": [0.1, 0.2, 0.3], "std": [0.5, 1.0, 2.0]}, EDGE
    )
    raw = made(plain, images, indexes)
    assert np.abs(raw.permute(0, 2, 3, 1).numpy() * 255 - images).max() < 1e-3
    expected = F.normalize(raw, [0.1, 0.2, 0.3], [0.5, 1.0, 2.0])
    assert torch.allclose(made(scaled, images, indexes), expected, atol=1e-6)


def test_a_plan_brings_images_due_for_hue_together() -> None:
    draws = drawn(pipeline(EVERYTHING), np.arange(200))
    chosen = plan(draws, CPU)
    assert sorted(chosen.rows.tolist()) == list(range(200))
    assert np.array_equal(chosen.rows[chosen.back.numpy()], np.arange(200))
    assert draws.jitter[chosen.rows[: chosen.jittered]].all()
    assert not draws.jitter[chosen.rows[chosen.jittered :]].any()
    for k, rows in enumerate(chosen.hues):
        assert (draws.order[chosen.rows[rows], k] == 3).all()
    assert sum(rows.stop - rows.start for rows in chosen.hues) == chosen.jittered


def test_a_plan_leaves_out_what_no_image_needs() -> None:
    chosen = plan(drawn(pipeline({"horizontal_flip": {"prob": 0.5}}), np.arange(9)), CPU)
    assert chosen.jittered == 0
    assert chosen.groups == {}
    bright = plan(drawn(pipeline({"color_jitter": {"prob": 1, "hue": 0.1}}), np.arange(9)), CPU)
    assert bright.blends == (None,) * 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("node", [EVERYTHING, GLYPHS])
def test_a_gpu_makes_the_same_views(node) -> None:
    chosen, images, indexes = pipeline(node), pictures(64), np.arange(64)
    device = torch.device("cuda", 0)
    planes = torch.from_numpy(images.transpose(3, 0, 1, 2).copy()).to(device)
    view = View(chosen, channels_last=True)
    found = view.make(
        lambda rows: planes.index_select(1, torch.from_numpy(rows).to(device)),
        drawn(chosen, indexes),
        device,
    )
    assert found.is_contiguous(memory_format=torch.channels_last)
    here = made(chosen, images, indexes)
    apart = (found.cpu() - here).abs()
    assert (apart > 1e-3).float().mean() < 2e-3  # solarisation and equalisation have steps
    assert apart.median() < 1e-5
