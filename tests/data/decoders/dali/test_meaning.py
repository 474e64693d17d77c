# SPDX-License-Identifier: MIT
"""Every operation means what it means with Pillow: in distribution, and pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mixmask_solo.data import build_pretrain
from mixmask_solo.data.batched.views import views_of
from mixmask_solo.data.decoders.dali.cpu import PartDecoder
from mixmask_solo.data.decoders.dali.feeder import Feeder
from mixmask_solo.data.decoders.dali.verified import Verified

NEVER = {"prob": 0.0}
OFF = {
    "rrc": {"enabled": False},
    "color_jitter": NEVER,
    "grayscale": NEVER,
    "gaussian_blur": NEVER,
    "solarization": NEVER,
    "equalization": NEVER,
    "horizontal_flip": NEVER,
    "crop_size": 24,
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
}
STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
OPERATIONS = {
    "crop": {"rrc": {"crop_min_scale": 0.2}},
    "brightness": {"color_jitter": STILL | {"prob": 1.0, "brightness": 0.4}},
    "contrast": {"color_jitter": STILL | {"prob": 1.0, "contrast": 0.4}},
    "saturation": {"color_jitter": STILL | {"prob": 1.0, "saturation": 0.4}},
    "hue": {"color_jitter": STILL | {"prob": 1.0, "hue": 0.1}},
    "jitter": {
        "color_jitter": {
            "prob": 0.8,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.2,
            "hue": 0.1,
        }
    },
    "grayscale": {"grayscale": {"prob": 0.3}},
    "blur": {"gaussian_blur": {"prob": 0.5, "sigma": [0.1, 2.0]}},
    "solarize": {"solarization": {"prob": 0.3}},
    "equalize": {"equalization": {"prob": 0.3}},
    "flip": {"horizontal_flip": {"prob": 0.4}},
}


@pytest.fixture
def one_photo(tmp_path, jpeg):
    """64 copies of one image: what differs between views is what was drawn."""
    (tmp_path / "x").mkdir()
    for i in range(64):
        (tmp_path / "x" / f"{i}.jpg").write_bytes(jpeg(3))
    return tmp_path


def statistics(data):
    """(n, k) of each view: moments and quantiles of each channel, sharpness, where it is bright."""
    loader = data.train_dataloader()
    rows = []
    for number in range(3):
        loader.batches.set_epoch(number)
        for _, views, _ in loader:
            x = torch.cat(views).double()
            flat = x.flatten(2)
            quantiles = torch.quantile(flat, torch.tensor([0.1, 0.5, 0.9]).double(), dim=2)
            grid = torch.nn.functional.adaptive_avg_pool2d(x, 3).flatten(1)
            edges = (x[..., 1:] - x[..., :-1]).abs().mean((2, 3))
            rows.append(torch.cat([flat.mean(2), flat.std(2), *quantiles, grid, edges], dim=1))
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_distributions_are_those_of_the_pil_decoder(one_photo, dali_cfg, name):
    options = OFF | OPERATIONS[name]
    ours, theirs = (
        statistics(build_pretrain(dali_cfg(one_photo, 32, {"format": form}, **options)))
        for form in ("dali", "image_folder")
    )
    n = len(ours)
    assert n == len(theirs) == 384
    error = np.sqrt((ours.var(0) + theirs.var(0)) / n)
    # 0.006: one and a half grey levels, which 8 bits between any two operations may cost
    assert np.all(np.abs(ours.mean(0) - theirs.mean(0)) < 4.5 * error + 0.006)
    spread = np.abs(ours.std(0) - theirs.std(0))
    assert np.all(spread < 0.3 * np.maximum(ours.std(0), theirs.std(0)) + 0.006)


def psnr(a, b):
    return -10 * np.log10(max(1e-12, float(((a - b) ** 2).mean())))


@pytest.mark.parametrize(("crop_size", "least"), [(16, 45.0), (32, 45.0), (96, 45.0)])
def test_pixels_of_a_crop_are_pillows(photos, dali_cfg, crop_size, least):
    """Larger and smaller than the box; Pillow given the same boxes and flips."""
    options = OFF | OPERATIONS["crop"] | OPERATIONS["flip"] | {"crop_size": crop_size}
    data = build_pretrain(dali_cfg(photos(8), 8, **options))
    indexes, views, _ = next(iter(data.train_dataloader()))
    source = data.opened
    for number, view in enumerate(views_of(data.pipelines)):
        sizes = np.array([source.image(i).size[::-1] for i in indexes.tolist()])
        draws = view.draw(sizes, data.seed, 0, indexes.numpy())
        for row, index in enumerate(indexes.tolist()):
            top, left, height, width = draws.box[row].tolist()
            part = source.image(index).crop((left, top, left + width, top + height))
            expected = part.resize((crop_size, crop_size), Image.Resampling.BICUBIC)
            if draws.flip[row]:
                expected = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            ours = views[number][row].permute(1, 2, 0).numpy()
            assert psnr(ours, np.asarray(expected) / 255.0) > least


def test_decoding_a_part_gives_the_pixels_of_the_whole(jpeg, photos, dali_cfg):
    data = build_pretrain(dali_cfg(photos(6), 6))
    feeder = Feeder(
        data.reader(data.opened), [], training=True, labelled=True, verified=Verified(data.opened)
    )
    files = feeder.read(range(6)).files
    start = np.tile([9, 13], (6, 1))
    end = np.tile([41, 50], (6, 1))
    for part, encoded in zip(PartDecoder()(files, start, end), files, strict=True):
        whole = np.asarray(Image.open(io.BytesIO(encoded.tobytes())))
        assert psnr(part.numpy() / 255.0, whole[9:41, 13:50] / 255.0) > 45


def test_views_take_their_draws_by_image_and_view(photos, dali_cfg):
    data = build_pretrain(dali_cfg(photos(4), 4))
    first, second = views_of(data.pipelines)
    sizes = np.tile([48, 60], (5, 1))
    a, b = (view.draw(sizes, 7, 2, np.arange(5)) for view in (first, second))
    assert not np.array_equal(a.box, b.box)
    alone = first.draw(sizes[:1], 7, 2, np.array([3]))
    assert np.array_equal(alone.box[0], a.box[3])
