# SPDX-License-Identifier: MIT
"""Each key of solo-learn's schema against the operation it stands for, called directly."""

from __future__ import annotations

import pytest
import torch
from PIL import ImageFilter, ImageOps
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from mixmask_solo.config import ConfigError
from mixmask_solo.data import DATASETS
from mixmask_solo.data.augmentations import build, build_all

CIFAR = DATASETS["cifar10"]
WHOLE = {"rrc": {"enabled": False}, "crop_size": 10}
BICUBIC = InterpolationMode.BICUBIC


def view(node, image, dataset=CIFAR):
    return build("solo", node, dataset)(image)


def expected(image, dataset=CIFAR):
    return F.normalize(F.to_tensor(image), dataset.mean, dataset.std)


@pytest.fixture
def square(picture):
    return picture(0, size=(10, 10))


def test_with_everything_off_only_tensor_and_statistics_remain(square):
    off = {k: {"prob": 0.0} for k in ("color_jitter", "grayscale", "gaussian_blur", "solarization")}
    off |= {k: {"prob": 0.0} for k in ("equalization", "horizontal_flip")}
    state = torch.get_rng_state()
    assert torch.equal(view(WHOLE | off, square), expected(square))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("key", "operation"),
    [
        ("grayscale", lambda image: F.rgb_to_grayscale(image, 3)),
        ("solarization", ImageOps.solarize),
        ("equalization", ImageOps.equalize),
        ("horizontal_flip", F.hflip),
    ],
)
def test_prob_one_is_the_operation_itself(square, key, operation):
    assert torch.equal(view(WHOLE | {key: {"prob": 1.0}}, square), expected(operation(square)))


def test_blur_is_pillows_with_a_deviation_from_the_range(square):
    blurred = square.filter(ImageFilter.GaussianBlur(1.5))
    blur = {"prob": 1.0, "sigma": [1.5, 1.5]}
    assert torch.equal(view(WHOLE | {"gaussian_blur": blur}, square), expected(blurred))


def test_blur_without_a_range_has_solo_learns():
    [pipeline] = build_all([WHOLE | {"gaussian_blur": {"prob": 1.0}}], CIFAR)
    blur = pipeline.transform.transforms[2].transforms[0]
    assert (blur.low, blur.high) == (0.1, 2.0)


def test_crop_and_jitter_are_torchvisions_with_solo_learns_settings(square):
    node = {
        "crop_size": 6,
        "rrc": {"enabled": True, "crop_min_scale": 0.3, "crop_max_scale": 0.9},
        "color_jitter": {
            "prob": 1,
            "brightness": 0.4,
            "contrast": 0.3,
            "saturation": 0.2,
            "hue": 0.1,
        },
    }
    direct = transforms.Compose(
        [
            transforms.RandomResizedCrop(6, scale=(0.3, 0.9), interpolation=BICUBIC),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.3, 0.2, 0.1)], p=1),
        ]
    )
    torch.manual_seed(4)
    theirs = expected(direct(square))
    torch.manual_seed(4)
    assert torch.equal(view(node, square), theirs)


def test_operations_follow_solo_learns_order(square):
    node = WHOLE | {
        "color_jitter": {"prob": 1.0, "brightness": 0.4, "contrast": 0.4, "saturation": 0.2},
        "grayscale": {"prob": 0.5},
        "gaussian_blur": {"prob": 0.5},
        "solarization": {"prob": 0.5},
        "equalization": {"prob": 0.5},
        "horizontal_flip": {"prob": 0.5},
    }
    assert names_of(node) == [
        "Resize",
        "CenterCrop",
        "ColorJitter",
        "RandomGrayscale",
        "RandomBlur",
        "solarize",
        "equalize",
        "RandomHorizontalFlip",
        "ToTensor",
        "Normalize",
    ]


def names_of(node):
    steps = build("solo", node, CIFAR).transform.transforms
    inner = [s.transforms[0] if isinstance(s, transforms.RandomApply) else s for s in steps]
    return [getattr(s, "__name__", type(s).__name__) for s in inner]


def test_colours_may_come_before_the_crop():
    node = {
        "crop_size": 6,
        "color_jitter": {"prob": 0.8, "brightness": 0.4},
        "grayscale": {"prob": 0.1},
        "gaussian_blur": {"prob": 0.5},
        "horizontal_flip": {"prob": 0.5},
    }
    crop, colours, blur = "RandomResizedCrop", ["ColorJitter", "RandomGrayscale"], "RandomBlur"
    assert names_of(node)[:4] == [crop, *colours, blur]
    assert names_of(node | {"order": "crop_first"}) == names_of(node)
    exchanged = names_of(node | {"order": "colour_first"})
    assert exchanged[:4] == [*colours, crop, blur]
    assert exchanged[4:] == names_of(node)[4:]


@pytest.mark.parametrize("enabled", [True, False])
def test_crops_are_bicubic_unless_told(picture, enabled):
    image, node = picture(2, size=(20, 20)), {"crop_size": 8, "rrc": {"enabled": enabled}}
    bilinear = {"crop_size": 8, "rrc": {"enabled": enabled, "interpolation": "bilinear"}}

    def seeded(options):
        torch.manual_seed(1)
        return view(options, image)

    assert torch.equal(
        seeded(node), seeded({**node, "rrc": {**node["rrc"], "interpolation": "bicubic"}})
    )
    assert not torch.equal(seeded(node), seeded(bilinear))
    if not enabled:
        whole = F.resize(image, 8, InterpolationMode.BILINEAR)
        assert torch.equal(seeded(bilinear), expected(whole))


def test_without_random_crop_the_whole_image_is_resized(picture):
    image = picture(1, size=(20, 20))
    node = {"rrc": {"enabled": False}, "crop_size": 8}
    assert torch.equal(view(node, image), expected(F.resize(image, 8, BICUBIC)))
    assert view(node, picture(1, size=(30, 20))).shape == (3, 8, 8)


def test_probabilities_are_probabilities(square):
    pipeline = build("solo", WHOLE | {"horizontal_flip": {"prob": 0.25}}, CIFAR)
    torch.manual_seed(0)
    flipped = expected(F.hflip(square))
    share = sum(torch.equal(pipeline(square), flipped) for _ in range(2000)) / 2000
    assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 2000) ** 0.5


def test_statistics_are_the_data_sets_unless_given(square):
    assert build("solo", WHOLE, DATASETS["imagenet"]).mean == (0.485, 0.456, 0.406)
    given = WHOLE | {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    assert torch.allclose(view(given, square), (F.to_tensor(square) - 0.5) * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grayscal": {"prob": 0.1}}, r"augmentations\[0\]\.grayscal .*did you mean grayscale\?"),
        ({"grayscale": {"prob": 1.5}}, r"augmentations\[0\]\.grayscale\.prob is 1\.5"),
        ({"rrc": {"crop_min_scale": 0.9, "crop_max_scale": 0.1}}, "crop_min_scale is 0.9: it must"),
        ({"crop_size": 0}, r"augmentations\[0\]\.crop_size is 0"),
        ({"num_crops": 0}, r"augmentations\[0\]\.num_crops is 0"),
        ({"color_jitter": {"prob": 1, "hue": 0.6}}, r"color_jitter\.hue is 0\.6"),
        ({"gaussian_blur": {"prob": 1, "sigma": [1.0]}}, r"gaussian_blur\.sigma"),
        ({"mean": [0.5]}, r"augmentations\[0\]\.mean"),
    ],
)
def test_wrong_entries_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        build_all([WHOLE | change], CIFAR)


@pytest.mark.parametrize("nodes", [None, [], "solo"])
def test_no_pipeline_at_all_is_an_error(nodes):
    with pytest.raises(ConfigError, match="augmentations is empty"):
        build_all(nodes, CIFAR)
