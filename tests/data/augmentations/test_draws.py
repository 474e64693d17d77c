# SPDX-License-Identifier: MIT
"""Batched draws: torchvision's distributions, each sample's own numbers whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter as TorchJitter
from torchvision.transforms import RandomResizedCrop

from mixmask_solo.config.schema.augmentations import (
    Chance,
    ColorJitter,
    Crop,
    GaussianBlur,
    SoloOptions,
)
from mixmask_solo.data.augmentations.draws import draw_solo, random_resized_boxes
from mixmask_solo.data.augmentations.randomness import keys, mix, uniforms

N = 20_000


def test_keys_are_the_scalar_mix_for_all_samples() -> None:
    found = keys(5, 3, [0, 7, 123_456_789], 1)
    assert found.tolist() == [mix(5, 3, i, 1) for i in (0, 7, 123_456_789)]


def test_a_sample_keeps_its_numbers_in_any_batch() -> None:
    together = uniforms(keys(0, 0, np.arange(10), 0), 8)
    alone = uniforms(keys(0, 0, [6], 0), 5)
    assert np.array_equal(together[6:7, :5], alone)


def test_uniforms_are_uniform_and_unrelated() -> None:
    u = uniforms(keys(1, 0, np.arange(N), 0), 6)
    assert (u >= 0).all()
    assert (u < 1).all()
    assert np.abs(u.mean(axis=0) - 0.5).max() < 5 * (1 / 12 / N) ** 0.5
    assert np.abs(np.corrcoef(u.T) - np.eye(6)).max() < 5 / N**0.5
    epochs = [uniforms(keys(1, e, np.arange(N), 0), 1)[:, 0] for e in (0, 1)]
    assert abs(np.corrcoef(*epochs)[0, 1]) < 5 / N**0.5


@pytest.mark.parametrize("size", [(32, 32), (100, 400), (375, 500), (1, 1), (20, 20_000)])
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.2, 1.0)])
def test_boxes_have_torchvisions_distribution(size: tuple[int, int], scale: tuple) -> None:
    torch.manual_seed(0)
    image, few = torch.empty(3, *size), 4000
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(few)]
    )
    u = uniforms(keys(0, 0, np.arange(N), 0), 40)
    sizes = np.tile(np.array(size), (N, 1))
    options = Crop(crop_min_scale=scale[0], crop_max_scale=scale[1])
    ours = random_resized_boxes(options, sizes, u)
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, 2:] >= 1).all()
    assert (ours[:, :2] + ours[:, 2:] <= sizes).all()
    for column in range(4):
        spread = max(theirs[:, column].std(), 1e-9)
        tolerance = 5 * spread * (1 / few + 1 / N) ** 0.5 + 1e-9
        assert abs(ours[:, column].mean() - theirs[:, column].mean()) < tolerance
        assert abs(ours[:, column].std() - theirs[:, column].std()) <= 0.05 * spread + 1e-9


def test_jitter_and_chances() -> None:
    options = SoloOptions(
        crop_size=32,
        color_jitter=ColorJitter(0.8, 0.4, 1.2, 0.2, 0.1),
        grayscale=Chance(0.2),
        gaussian_blur=GaussianBlur(0.5, [0.1, 2.0]),
        solarization=Chance(0.0),
        horizontal_flip=Chance(1.0),
    )
    d = draw_solo(options, np.tile([32, 32], (N, 1)), keys(0, 0, np.arange(N), 0))
    torch.manual_seed(0)
    jitter = TorchJitter(0.4, 1.2, 0.2, 0.1)
    limits = [jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue]
    for column, (low, high) in enumerate(limits):
        factor = d.factors[:, column]
        assert low <= factor.min()
        assert factor.max() <= high
        assert abs(factor.mean() - (low + high) / 2) < 0.02 * (high - low)
    assert d.jitter.mean() == pytest.approx(0.8, abs=0.02)
    assert d.gray.mean() == pytest.approx(0.2, abs=0.02)
    assert (d.sigma > 0).mean() == pytest.approx(0.5, abs=0.02)
    assert d.sigma[d.sigma > 0].mean() == pytest.approx(1.05, abs=0.03)
    assert d.flip.all()
    assert not d.solarize.any()
    assert not d.equalize.any()
    orders, counts = np.unique(d.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 0.8 * N / 24


def test_a_switched_off_crop_is_the_whole_image() -> None:
    options = SoloOptions(crop_size=8, rrc=Crop(enabled=False))
    d = draw_solo(options, np.array([[5, 9]]), keys(0, 0, [0], 0))
    assert d.box.tolist() == [[0, 0, 5, 9]]
    assert d.factors.tolist() == [[1.0, 1.0, 1.0, 0.0]]
