# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.config.check import get
from mixmask_solo.config.datasets import data_block


def test_a_key_is_a_plain_value_or_the_default():
    cfg = OmegaConf.create({"a": {"b": [1, "${c}"]}, "c": 2, "d": None})
    assert get(cfg, "a.b") == [1, 2]
    assert type(get(cfg, "a")) is dict
    assert get(cfg, "d", 5) == get(cfg, "a.x", 5) == get({"d": None}, "d", 5) == 5


@pytest.mark.parametrize("cfg", [{}, {"data": 3}, {"data": {"train_path": "x"}}])
def test_a_data_set_has_to_be_named(cfg):
    with pytest.raises(ConfigError, match=r"data\.dataset is missing"):
        data_block(cfg)


def test_the_data_set_has_to_be_known():
    assert data_block({"data": {"dataset": "digits"}}) == {"dataset": "digits"}
    with pytest.raises(ConfigError, match=r"data\.dataset is 'digit': .*did you mean digits\?"):
        data_block({"data": {"dataset": "digit"}})
