# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from mixmask_solo.data import DATASETS, source
from mixmask_solo.data.sources.arrays import held_out

CFG = {"data": {"dataset": "digits"}}


def test_the_two_splits_share_no_scan_and_leave_none_out():
    train, val = source(CFG, "train"), source(CFG, "val")
    assert (len(train), len(val)) == (1442, 355)
    together = np.sort(np.concatenate([train.labels, val.labels]))
    assert np.array_equal(together, np.sort(load_digits().target))


def test_held_out_is_every_fifth_scan_of_each_class():
    labels = np.array([0, 1, 0, 0, 1, 0, 0, 0, 1, 1, 1])
    assert np.flatnonzero(held_out(labels)).tolist() == [6, 10]


def test_split_is_stratified():
    val = source(CFG, "val")
    assert np.bincount(val.labels).min() >= 34
    assert np.bincount(val.labels).max() <= 36


def test_pixels_are_the_scans_on_the_full_range():
    val = source(CFG, "val")
    first = int(np.flatnonzero(held_out(load_digits().target))[0])
    expected = load_digits().images[first] / 16
    image = np.asarray(val.image(0)).astype(float) / 255
    assert image.shape == (8, 8, 3)
    assert np.abs(image - expected[..., None]).max() <= 0.5 / 255 + 1e-9


def test_statistics_in_the_table_are_those_of_the_training_split():
    pixels = source(CFG, "train").images / 255
    assert np.isclose(pixels.mean(), DATASETS["digits"].mean[0], atol=1e-4)
    assert np.isclose(pixels.std(), DATASETS["digits"].std[0], atol=1e-4)
