# SPDX-License-Identifier: MIT
"""Images held out of training: a share of each class, by the seed, in no epoch's order."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mixmask_solo.config import ConfigError
from mixmask_solo.data import build_classification, source
from mixmask_solo.data.identity import identity
from mixmask_solo.data.sources.heldout import hold_out

DIGITS: Any = source({"data": {"dataset": "digits"}}, "train")


@given(share=st.floats(0.01, 0.5), seed=st.integers(0, 2**32 - 1))
def test_a_share_of_each_class_is_held_out_and_nothing_lost(share: float, seed: int) -> None:
    kept, held = hold_out(DIGITS, share, seed)
    everyone = np.concatenate([kept.indexes, held.indexes])
    assert sorted(everyone.tolist()) == list(range(len(DIGITS)))
    assert (np.diff(kept.indexes) > 0).all()
    assert (np.diff(held.indexes) > 0).all()
    of_all, of_held = Counter(DIGITS.labels.tolist()), Counter(held.labels.tolist())
    assert all(abs(of_held[label] - share * of_all[label]) <= 1.5 for label in of_all)
    assert kept.classes == held.classes == DIGITS.classes


def test_the_seed_alone_decides() -> None:
    first, again, other = (hold_out(DIGITS, 0.1, seed)[1].indexes for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_order_of_an_epoch_is_that_of_the_whole_without_them() -> None:
    kept, held = hold_out(DIGITS, 0.1, 5)
    order = kept.shuffled(torch.Generator().manual_seed(1))
    whole = DIGITS.shuffled(torch.Generator().manual_seed(1)).tolist()
    left = [i for i in whole if i not in set(held.indexes.tolist())]
    assert kept.indexes[order].tolist() == left


def test_a_class_that_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match=r"^probe\.holdout is 0\.001: .* probe\.holdout=null$"):
        hold_out(DIGITS, 0.001, 5)


@pytest.mark.parametrize("form", ["image_folder", "resident"])
def test_a_probe_measures_them_beside_the_validation_images(form: str, views_cfg: Any) -> None:
    block = {"dataset": "digits", "num_workers": 0, "format": form}
    cfg = views_cfg(block, 64)
    whole = build_classification(cfg)
    assert whole.held_out_dataloader() is None
    assert len(whole.val_dataloader()) == 6
    part = build_classification({**cfg, "probe": {"holdout": 0.1}})
    val, held = part.val_dataloader()
    assert [len(val), len(held), len(part.train_dataloader())] == [6, 3, 20]
    labels = torch.cat([targets for _, targets in held])
    assert len(labels) == 145
    _, ours = hold_out(whole.opened, 0.1, part.seed)
    assert labels.tolist() == ours.labels.tolist()
    images = {name: split["images"] for name, split in identity(part).items()}
    assert images == {"train": 1297, "val": 355, "holdout": 145}
