# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision import transforms
from torchvision.transforms import functional as F

from mixmask_solo.config.datasets import DATASETS
from mixmask_solo.data.augmentations.pipeline import assemble
from mixmask_solo.data.tasks import probe_options, unaugmented

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)


def tensor(image):
    return F.normalize(F.to_tensor(image), MEAN, STD)


def probe_training(dataset, size):
    options = replace(probe_options(dataset, size), mean=MEAN, std=STD)
    return assemble("solo", options, dataset, "data.augmentations").transform


def test_natural_images_are_resized_to_256_and_cropped_to_224(picture):
    image = picture(0, size=(300, 270))
    expected = tensor(F.center_crop(F.resize(image, 256), 224))
    assert torch.equal(unaugmented(DATASETS["imagenet"], 224, MEAN, STD)(image), expected)


def test_other_sizes_keep_the_proportion(picture):
    image = picture(0, size=(90, 120))
    expected = tensor(F.center_crop(F.resize(image, 128), 112))
    assert torch.equal(unaugmented(DATASETS["custom"], 112, MEAN, STD)(image), expected)


@pytest.mark.parametrize(("name", "size"), [("cifar10", 32), ("tiny-imagenet", 64), ("stl10", 96)])
def test_images_of_one_size_stay_as_they_are(picture, name, size):
    image = picture(0, size=(size, size))
    assert torch.equal(unaugmented(DATASETS[name], size, MEAN, STD)(image), tensor(image))


def test_scans_are_enlarged(picture):
    image = picture(0, size=(8, 8))
    expected = tensor(F.resize(image, [32, 32], transforms.InterpolationMode.BICUBIC))
    assert torch.equal(unaugmented(DATASETS["digits"], 32, MEAN, STD)(image), expected)


def test_probes_train_on_crops_and_flips(picture):
    image = picture(0, size=(40, 40))
    direct = transforms.Compose(
        [transforms.RandomResizedCrop(32, scale=(0.08, 1.0)), transforms.RandomHorizontalFlip()]
    )
    torch.manual_seed(2)
    expected = tensor(direct(image))
    torch.manual_seed(2)
    assert torch.equal(probe_training(DATASETS["cifar10"], 32)(image), expected)


def test_a_probe_may_enlarge_and_cut_small_images_as_patrickhua(picture):
    image = picture(0, size=(32, 32))
    bicubic = transforms.InterpolationMode.BICUBIC
    facts = replace(DATASETS["cifar100"], resize=36, interpolation="bicubic")
    expected = tensor(F.center_crop(F.resize(image, 36, bicubic), 32))
    assert torch.equal(unaugmented(facts, 32, MEAN, STD)(image), expected)
    crop, *_ = probe_training(facts, 32).transforms
    assert (crop.interpolation, crop.scale) == (bicubic, (0.08, 1.0))


def test_characters_are_not_mirrored():
    steps = probe_training(DATASETS["digits"], 32).transforms
    assert not any(isinstance(s, transforms.RandomHorizontalFlip) for s in steps)
    assert steps[0].scale == (0.6, 1.0)
