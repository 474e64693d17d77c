# SPDX-License-Identifier: MIT
"""Each batched operation against Pillow's or torchvision's on fixed images and parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mixmask_solo.data.batched import colour
from mixmask_solo.data.batched.colour import blend, equalize, grey, shift_hue, solarize
from mixmask_solo.data.batched.geometry import (
    blur,
    blur_matrix,
    box_weights,
    resample,
    resize,
    rotate,
    whole_weights,
)

MODES = {"bicubic": InterpolationMode.BICUBIC, "bilinear": InterpolationMode.BILINEAR}


def arrays(count: int, height: int, width: int) -> np.ndarray:
    """(count, H, W, 3): smooth gradients, edges and noise in turn."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(count):
        y, x = np.mgrid[0:height, 0:width] / max(height, width)
        smooth = np.stack([x, y, (x + y) / 2], axis=2) * 255
        noise = rng.integers(0, 256, (height, width, 3))
        edges = np.where(smooth > 128, 255, 0)
        images.append([smooth, (smooth + noise) / 2, edges, noise][i % 4])
    return np.stack(images).astype(np.uint8)


def planes(images: np.ndarray) -> torch.Tensor:
    """(3, N, H, W) float in [0, 1]."""
    return torch.from_numpy(images.transpose(3, 0, 1, 2).copy()).float() / 255


def pictures(result: torch.Tensor) -> np.ndarray:
    """Back to (N, H, W, 3), in grey levels."""
    return (result * 255).permute(1, 2, 3, 0).numpy()


def each(images: np.ndarray, change) -> np.ndarray:
    return np.stack([np.asarray(change(Image.fromarray(image))) for image in images])


@pytest.mark.parametrize("kernel", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("size", "edges"), [(16, (32, 32)), (32, (20, 30)), (32, (32, 32)), (8, (41, 33))]
)
def test_crops_are_pillows(kernel, size, edges) -> None:
    height, width = edges
    boxes = [(0, 0, height, width), (3, 5, 9, 7), (0, 0, 1, 1), (2, 1, 17, 19)]
    flips = [0, 1, 1, 1]
    images = arrays(4, height, width)
    top, left, rows, columns = torch.tensor(boxes, dtype=torch.float32).T
    down = box_weights(top, rows, height, size, kernel)
    across = box_weights(left, columns, width, size, kernel, torch.tensor(flips).float())
    assert torch.allclose(down.sum(2), torch.ones(4, size), atol=1e-6)
    found = pictures(resample(planes(images), down, across))
    for i, box in enumerate(boxes):
        image = F.resized_crop(Image.fromarray(images[i]), *box, (size, size), MODES[kernel])
        image = F.hflip(image) if flips[i] else image
        # Pillow rounds after the first pass and after the second
        assert np.abs(found[i] - np.asarray(image)).max() <= 1.3
        assert np.abs(found[i] - np.asarray(image)).mean() < 0.4


@pytest.mark.parametrize("size", [10, 24, 41])
@pytest.mark.parametrize("edges", [(32, 32), (20, 30), (33, 17)])
def test_whole_images_are_pillows_bit_for_bit(size, edges) -> None:
    images = arrays(4, *edges)
    pixels = torch.from_numpy(images.transpose(3, 0, 1, 2).copy())
    for kernel, shorter in (("bicubic", None), ("bilinear", size + 4)):
        rows, columns = whole_weights(*edges, size, kernel, shorter or size)
        found = resize(pixels, rows, columns).permute(1, 2, 3, 0).numpy()
        theirs = each(
            images,
            lambda image, kernel=kernel, shorter=shorter: F.center_crop(
                F.resize(image, shorter or size, MODES[kernel]), size
            ),
        )
        assert np.array_equal(found, theirs)


JITTERS = {
    "brightness": (F.adjust_brightness, lambda f: (f, 0.0, 0.0)),
    "contrast": (F.adjust_contrast, lambda f: (f, 1 - f, 0.0)),
    "saturation": (F.adjust_saturation, lambda f: (f, 0.0, 1 - f)),
}


@pytest.mark.parametrize("name", sorted(JITTERS))
def test_blends_are_torchvisions(name, monkeypatch) -> None:
    images = arrays(8, 12, 12)
    factors = [0.0, 0.3, 0.6, 0.9, 1.0, 1.3, 1.7, 2.5]
    theirs, coefficients = JITTERS[name]
    rows = torch.tensor([coefficients(f) for f in factors]).T
    exact = planes(images)
    with monkeypatch.context() as patch:
        patch.setattr(colour, "LUMA", (0.2989, 0.587, 0.114))  # as in torchvision's functions
        blend(exact, *rows)
    found = planes(images)
    blend(found, *rows)
    for i, factor in enumerate(factors):
        tensor = theirs(F.to_tensor(Image.fromarray(images[i])), factor)
        assert torch.allclose(exact[:, i], tensor, atol=1e-5)
        pillow = np.asarray(theirs(Image.fromarray(images[i]), factor), dtype=np.float64)
        # the grey that Pillow mixes in is rounded, and weighs |1 - f|
        assert np.abs(pictures(found)[i] - pillow).max() <= 1.01 + 0.5 * abs(1 - factor)


def test_hue_is_torchvisions() -> None:
    images = arrays(8, 12, 12)
    images[0] = images[0][..., :1]  # grey has no hue
    images[1, 0, :4] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]]
    turns = [-0.5, -0.1, 0.0, 0.05, 0.1, 0.25, 0.4, 0.5]
    found = planes(images)
    shift_hue(found, torch.tensor(turns))
    for i, turn in enumerate(turns):
        theirs = F.adjust_hue(F.to_tensor(Image.fromarray(images[i])), turn)
        assert torch.allclose(found[:, i], theirs, atol=1e-5)


def test_hue_of_a_slice_leaves_the_rest_alone() -> None:
    found = planes(arrays(6, 5, 5))
    before = found.clone()
    shift_hue(found[:, 2:4], torch.tensor([0.3, -0.2]))
    assert torch.equal(found[:, :2], before[:, :2])
    assert torch.equal(found[:, 4:], before[:, 4:])
    assert not torch.equal(found[:, 2:4], before[:, 2:4])


def test_grey_is_pillows() -> None:
    images = arrays(4, 9, 9)
    theirs = each(images, lambda image: image.convert("L"))
    assert np.abs(grey(planes(images)).numpy() * 255 - theirs).max() <= 0.51


@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 0.8, 1.3, 2.0, 4.0])
@pytest.mark.parametrize("size", [9, 32])
def test_blur_is_pillows(sigma, size) -> None:
    images = arrays(4, size, size)
    found = pictures(blur(planes(images), torch.full((4,), sigma)))
    theirs = each(images, lambda image: image.filter(ImageFilter.GaussianBlur(sigma)))
    # Pillow rounds after each of six passes
    assert np.abs(found - theirs).max() <= 3.0
    assert np.abs(found - theirs).mean() < 0.7


@pytest.mark.parametrize("sigma", [0.5, 1.0, 1.5, 2.0])
def test_blur_is_nearly_gaussian(sigma) -> None:
    size, middle = 33, 16
    row = blur_matrix(torch.tensor([sigma], dtype=torch.float64), size)[0, middle]
    apart = torch.arange(size, dtype=torch.float64) - middle
    gauss = torch.exp(-0.5 * (apart / sigma) ** 2)
    gauss /= gauss.sum()
    assert float((row - gauss).abs().sum()) < 0.11  # in total, of 1
    assert float((row * apart**2).sum()) == pytest.approx(sigma**2, rel=1e-6)


def test_images_of_one_batch_are_blurred_apart() -> None:
    together = blur(planes(arrays(4, 8, 8)), torch.tensor([0.2, 1.0, 1.5, 2.0]))
    alone = blur(planes(arrays(4, 8, 8))[:, 2:3], torch.tensor([1.5]))
    assert torch.allclose(together[:, 2:3], alone, atol=1e-6)


def test_solarize_is_pillows() -> None:
    images = arrays(4, 16, 16)
    images[0] = np.arange(256).reshape(16, 16, 1)
    assert np.abs(pictures(solarize(planes(images))) - each(images, ImageOps.solarize)).max() < 1e-3


@pytest.mark.parametrize("size", [4, 16, 32, 40])
def test_equalize_is_pillows_exactly(size) -> None:
    images = arrays(8, size, size)
    images[4] = 7  # one level
    images[5, :, : size // 2] = 200  # much of one level
    images[6] = np.where(images[6] > 250, 255, 3)
    found = pictures(equalize(planes(images)))
    assert np.abs(found - each(images, ImageOps.equalize)).max() < 1e-3


@pytest.mark.parametrize("size", [8, 32, 33])
def test_rotation_is_pillows(size) -> None:
    images = arrays(6, size, size)
    angles = [-45.0, -10.0, 0.0, 3.7, 12.0, 170.0]
    found = pictures(rotate(planes(images), torch.tensor(angles)))
    for i, angle in enumerate(angles):
        image = F.rotate(Image.fromarray(images[i]), angle, InterpolationMode.BILINEAR)
        apart = np.abs(found[i] - np.asarray(image)).max(axis=2)
        # Pillow cuts decimals off; a corner on the very border may fall on either side of it
        assert (apart > 1.02).sum() <= 2


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    edge=st.integers(1, 40),
    size=st.integers(1, 40),
    data=st.data(),
    kernel=st.sampled_from(["bicubic", "bilinear"]),
)
def test_weights_of_any_box_add_up_and_stay_inside(edge, size, data, kernel) -> None:
    start = data.draw(st.integers(0, edge - 1))
    length = data.draw(st.integers(1, edge - start))
    weights = [
        box_weights(
            torch.tensor([float(start)]), torch.tensor([float(length)]), edge, size, kernel, flip
        )[0]
        for flip in (None, torch.ones(1))
    ]
    assert torch.allclose(weights[0].sum(1), torch.ones(size), atol=1e-5)
    assert not weights[0][:, :start].any()
    assert not weights[0][:, start + length :].any()
    assert torch.allclose(weights[0].flip(0), weights[1], atol=1e-5)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(turn=st.floats(-0.5, 0.5), seed=st.integers(0, 100))
def test_hue_keeps_value_and_saturation_and_turns_back(turn, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 2, 4, 4, generator=generator)
    turned = image.clone()
    shift_hue(turned, torch.full((2,), turn))
    assert torch.allclose(turned.amax(0), image.amax(0), atol=1e-6)
    assert torch.allclose(turned.amin(0), image.amin(0), atol=1e-6)
    shift_hue(turned, torch.full((2,), -turn))
    assert torch.allclose(turned, image, atol=1e-4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(sigma=st.floats(0.0, 20.0), size=st.integers(1, 24))
def test_blur_keeps_flat_images_and_the_order_of_sides(sigma, size) -> None:
    matrix = blur_matrix(torch.tensor([sigma], dtype=torch.float64), size)[0]
    assert torch.allclose(matrix.sum(1), torch.ones(size, dtype=torch.float64))
    assert torch.allclose(matrix, matrix.flip(0, 1))
    assert (matrix >= -1e-12).all()
