# SPDX-License-Identifier: MIT
"""Each odd image through each decoder: within one grey level of Pillow, or refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data import ImageError, build_pretrain
from support.odd_images import EDGE, READ, REFUSED, SIZED

TINY = DATASETS["tiny-imagenet"]  # whole images of 64x64, neither cropped nor resized
MEAN, STD = (torch.tensor(values).view(3, 1, 1) for values in (TINY.mean, TINY.std))
STRAIGHT = {
    "rrc": {"enabled": False},
    "color_jitter": {"prob": 0.0},
    "grayscale": {"prob": 0.0},
    "gaussian_blur": {"prob": 0.0},
    "solarization": {"prob": 0.0},
    "equalization": {"prob": 0.0},
    "horizontal_flip": {"prob": 0.0},
    "crop_size": EDGE,
}


@pytest.fixture(params=["image_folder", "resident", "dali"])
def shown(request, tmp_path, views_cfg):
    """``shown(name, content)``: the grey levels in training and in validation."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="the extra dali is not installed")

    def show(name, content):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / name).write_bytes(content)
        path = {"train_path": str(tmp_path), "val_path": str(tmp_path)}
        block = {"dataset": "tiny-imagenet", "format": request.param} | path
        data = build_pretrain(views_cfg(block, 1, **STRAIGHT) | {"dali": {"device": "cpu"}})
        ((_, views, _),) = data.train_dataloader()
        ((whole, _),) = data.val_dataloader()
        return [255 * (x[0] * STD + MEAN) for x in (views[0], whole)]

    return show


def as_pillow_has_it(content):
    with Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def levels(image):
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float()


@pytest.mark.parametrize("name", READ)
def test_an_odd_image_is_read_alike(shown, name):
    expected = levels(as_pillow_has_it(READ[name]))
    assert expected.std() > 5
    for found in shown(name, READ[name]):
        assert (found - expected).abs().max() < 1.01


@pytest.mark.parametrize("name", SIZED)
def test_an_odd_size_is_read_alike(shown, name):
    """Enlarging twentyfold doubles what resizers of 8 bits round differently, in a few pixels."""
    image = as_pillow_has_it(SIZED[name])
    central = Compose([Resize(EDGE, InterpolationMode.BICUBIC), CenterCrop(EDGE)])(image)
    squeezed = image.resize((EDGE, EDGE), Image.Resampling.BICUBIC)
    for found, expected in zip(shown(name, SIZED[name]), (central, squeezed), strict=True):
        apart = (found.round() - levels(expected)).abs()
        assert apart.max() <= 2
        assert (apart > 1).float().mean() < 0.001


@pytest.mark.parametrize("name", REFUSED)
def test_no_image_is_refused_in_one_line_that_names_the_file(shown, name):
    with pytest.raises(ImageError) as caught:
        shown(name, REFUSED[name])
    said = str(caught.value)
    assert "\n" not in said
    assert name in said or said == "none of the 1 images can be read"
