# SPDX-License-Identifier: MIT
"""Official MoCo's keys, checked and completed, whoever read the configuration."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from mixmask_solo.config import check, to_values, with_defaults
from mixmask_solo.config.rules import check_mocov2, require_two_views
from mixmask_solo.config.schema import METHOD_KWARGS, MOMENTUM
from mixmask_solo.strategies import blocks

NAME = "mocov2"


def complete_mocov2(cfg: Any) -> DictConfig:
    """A copy of ``cfg`` with every key of ``method_kwargs`` and ``momentum``.

    Our commands have done this before (``resolve_pretrain``); solo-learn's have not.

    Raises:
        ConfigError: for a wrong key or value, or other views than two large ones.
    """
    values = to_values(cfg)
    written, momentum = values.get("method_kwargs"), values.get("momentum")
    kwargs = check(written, METHOD_KWARGS[NAME], "method_kwargs", extra=blocks())
    check_mocov2(kwargs, written, cfg)
    require_two_views(NAME, cfg.data.num_large_crops, cfg.data.num_small_crops)
    result = OmegaConf.create(OmegaConf.to_container(cfg))
    assert isinstance(result, DictConfig)
    result.method_kwargs = with_defaults(written, kwargs)
    result.momentum = with_defaults(momentum, check(momentum, MOMENTUM[NAME], "momentum"))
    return result
