# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mixmask_solo.config import ConfigError
from mixmask_solo.data import source


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"dataset": "cifar"}, r"data\.dataset is 'cifar': choose .*did you mean cifar10\?"),
        ({}, r"data\.dataset is missing"),
        ({"dataset": "custom"}, r"data\.train_path is missing"),
        ({"dataset": "custom", "train_path": ".", "format": "parket"}, r"did you mean parquet\?"),
    ],
)
def test_the_block_itself_is_wrong(data, message):
    with pytest.raises(ConfigError, match=message):
        source({"data": data}, "train")


def test_an_omegaconf_node_with_an_interpolation_will_do():
    cfg = OmegaConf.create({"name": "digits", "data": {"dataset": "${name}", "val_path": None}})
    assert len(source(cfg, "val")) == 355
