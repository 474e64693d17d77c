# SPDX-License-Identifier: MIT
from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.model_selection import train_test_split

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source
from mixmask_solo.data.sources import Subset

DIGITS = {"dataset": "digits"}


def test_fraction_takes_what_solo_learn_takes():
    whole = source({"data": DIGITS}, "train")
    part = source({"data": DIGITS | {"fraction": 0.1}}, "train")
    # solo-learn splits the list of files; a list of names stands for it here
    names = [whole.name(i) for i in range(len(whole))]
    expected, _ = train_test_split(
        names, train_size=0.1, stratify=whole.labels.tolist(), random_state=42
    )
    assert [part.name(i) for i in range(len(part))] == expected
    assert part.classes == whole.classes
    assert part.label(3) == whole.label(names.index(expected[3]))
    assert np.array_equal(
        np.asarray(part.image(3)), np.asarray(whole.image(names.index(expected[3])))
    )


def test_validation_stays_whole():
    assert len(source({"data": DIGITS | {"fraction": 0.1}}, "val")) == 355


@pytest.mark.parametrize("fraction", [-1, 1, -1.0])
def test_everything(fraction):
    assert len(source({"data": DIGITS | {"fraction": fraction}}, "train")) == 1442


@pytest.mark.parametrize("fraction", [0.0, 1.5, 0.001])
def test_impossible_fractions(fraction):
    with pytest.raises(ConfigError, match=f"data.fraction is {fraction}: .*train"):
        source({"data": DIGITS | {"fraction": fraction}}, "train")


def test_shuffling_a_part_keeps_the_order_of_the_whole():
    whole = source({"data": DIGITS}, "val")
    part = Subset(whole, [5, 2, 300, 7])
    order = part.shuffled(torch.Generator().manual_seed(1))
    in_whole = whole.shuffled(torch.Generator().manual_seed(1)).tolist()
    positions = [in_whole.index(int(part.indexes[i])) for i in order]
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert positions == sorted(positions)
