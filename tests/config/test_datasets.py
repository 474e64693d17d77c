# SPDX-License-Identifier: MIT
"""The table of data sets."""

from __future__ import annotations

import pytest

from mixmask_solo.config import ConfigError
from mixmask_solo.config.datasets import DATASETS, info


@pytest.mark.parametrize("name", DATASETS)
def test_every_known_data_set_has_sound_facts(name: str) -> None:
    facts = info(name)
    assert facts is DATASETS[name]
    assert facts.kind in ("digits", "cifar", "stl10", "folder", "parquet", "benchmark")
    assert all(0 < mean < 1 for mean in facts.mean)
    assert all(0 < deviation < 1 for deviation in facts.std)
    assert facts.center_crop == (facts.size == 224)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"data\.dataset is 'cifar-10': choose digits, .*cifar10\?"
    ):
        info("cifar-10")
